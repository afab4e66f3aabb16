"""The list of planted bugs keeps up with the program; that each is caught is what ``planted_bugs.py`` shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_bugs_landing import LANDING
from planted_bugs_list import BUGS, Bug

ROOT = Path(__file__).parents[2]
ALL = (*BUGS, *LANDING)


@pytest.mark.parametrize("bug", ALL, ids=[bug.name for bug in ALL])
def test_a_planted_bug__has_its_one_place_and_tests_that_are_there(bug: Bug) -> None:
    text = (ROOT / bug.file).read_text(encoding="utf-8")
    assert text.count(bug.good) == 1
    compile(text.replace(bug.good, bug.bad), bug.file, "exec")
    assert bug.tests
    assert all((ROOT / test.partition("::")[0]).exists() for test in bug.tests)
