"""Some dozen simulated sessions, the same ones again, and bugs planted into the program that they have to find."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from simulated_day import play

from cryoframe.errors import EnvironmentFault
from cryoframe.execution import attempts
from cryoframe.execution.outbox import Outbox
from cryoframe.watch import doorstep, prober
from cryoframe.watch.roots import Root
from cryoframe.watch.scanner import Tree

#: Among them some of each kind of file, of session and of fault; the command plays as many as there is time for.
SEEDS = (1, 4, 5, 6, 7, 10, 11, 14, 16, 18, 20, 21, 24, 25)
#: A bug has to be found within so many seeds from the one named with it.
MOST_SEEDS = 3
Record = Callable[[str, object], None]


def test_whatever_befalls_a_session__all_is_done_once_and_nothing_is_silent(figure: Record) -> None:
    results = [play(seed) for seed in SEEDS]
    figure("simulated [h]", sum(result.simulated_s for result in results) / 3600)
    figure("CPU a seed [s]", sum(result.cpu_s for result in results) / len(results))
    assert not [str(result) for result in results if result.violation]
    assert sum(result.n_effects for result in results) > 100


def test_a_seed__gives_the_same_session_again() -> None:
    first, again = play(7), play(7)
    assert first.signature == again.signature
    assert first.signature != play(24).signature


# -- bugs planted --------------------------------------------------------------------------------------------------
def _forgetful_page(self: Tree) -> dict[str, Any]:
    return {**_PAGE(self), "more": False}


def _forgetful_flush(self: Outbox) -> None:
    try:
        _FLUSH(self)
    except EnvironmentFault:
        self._gathered = []
        raise


_PAGE, _FLUSH = Tree._page, Outbox.flush
_BUGS: dict[str, tuple[object, str, object, int]] = {
    "what stands still for no time is taken": (doorstep, "required_s", lambda *_, **__: 0.0, 1),
    "an outcome is not checked before it is committed": (attempts, "require_whole", lambda *_: None, 8),
    "the rest of a page is forgotten": (Tree, "_page", _forgetful_page, 6),
    "what a full disk refused is not said again": (Outbox, "flush", _forgetful_flush, 4),
    "a movie is blamed for one death of its reader": (prober, "MAX_SILENT", 1, 8),
    "a watermark is set though folders cannot be listed": (Root, "unlisted", "", 1),
}


@pytest.mark.parametrize("name", _BUGS)
def test_a_bug_that_is_planted__is_found(name: str, figure: Record) -> None:
    where, what, bad, first = _BUGS[name]
    seeds = range(first, first + MOST_SEEDS)
    with mock.patch.object(where, what, bad):
        found = next((seed for seed in seeds if play(seed).violation), None)
    figure(f"the seed that found that {name}", found)
    assert found
