"""The campaign of the failing disk in small: each kind of refusal at a few calls."""

from __future__ import annotations

import shutil

import pytest
from failing_disk import KINDS, trials


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_disk_that_refuses_a_call__is_believed() -> None:
    made = list(trials([4]))
    assert [trial for trial in made if trial.wrong] == []
    assert len({(trial.where, trial.error) for trial in made if trial.met}) >= len(KINDS) - 1
