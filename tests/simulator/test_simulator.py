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

#: Seeds that once found a bug, or a fault of the simulator, and some more.
SEEDS = (2, 3, 5, 6, 8, 14, 15, 17, 23, 36)
MOST_SEEDS = 12
Record = Callable[[str, object], None]


def test_whatever_befalls_a_session__all_is_done_once_and_nothing_is_silent(figure: Record) -> None:
    results = [play(seed) for seed in SEEDS]
    figure("simulated [h]", sum(result.simulated_s for result in results) / 3600)
    figure("CPU a seed [s]", sum(result.cpu_s for result in results) / len(results))
    assert not [str(result) for result in results if result.violation]
    assert sum(result.n_effects for result in results) > 100


def test_a_seed__gives_the_same_session_again() -> None:
    first, again = play(1), play(1)
    assert first.signature == again.signature
    assert first.signature != play(3).signature


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
_BUGS: dict[str, tuple[object, str, object]] = {
    "what stands still for no time is taken": (doorstep, "required_s", lambda *_, **__: 0.0),
    "an outcome is not checked before it is committed": (attempts, "require_whole", lambda *_: None),
    "the rest of a page is forgotten": (Tree, "_page", _forgetful_page),
    "what a full disk refused is not said again": (Outbox, "flush", _forgetful_flush),
    "a movie is blamed for one death of its reader": (prober, "MAX_SILENT", 1),
    "a watermark is set though folders cannot be listed": (Root, "unlisted", ""),
}


@pytest.mark.parametrize("name", _BUGS)
def test_a_bug_that_is_planted__is_found(name: str, figure: Record) -> None:
    where, what, bad = _BUGS[name]
    with mock.patch.object(where, what, bad):
        found = next((seed for seed in range(1, MOST_SEEDS + 1) if play(seed).violation), None)
    figure(f"seeds until '{name}' is found", found)
    assert found
