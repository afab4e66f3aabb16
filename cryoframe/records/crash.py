"""Named places where a test may kill the process, or a simulation do worse; nothing happens at them otherwise.

``CRYOFRAME_CRASH_AT=store.renamed`` ends the process at that place as ``kill -9`` would: no cleaning up, no flushing.
``CRYOFRAME_CRASH_AT=journal.inserted:3`` does so at the third passage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VARIABLE = "CRYOFRAME_CRASH_AT"

#: Places in the journal and the store; the runner has its own, named ``runner.…``.
JOURNAL_POINTS = (
    "journal.enter", "journal.begun", "journal.inserted", "journal.folded", "journal.committed",
    "journal.rebuild_dropped", "journal.rebuild_folded",
)  # fmt: skip
STORE_POINTS = (
    "store.scratch_made", "store.enter", "store.digested", "store.job_written", "store.files_synced",
    "store.scratch_synced", "store.parent_made", "store.before_rename", "store.renamed", "store.parent_synced",
    "store.lost_race", "store.set_aside", "store.before_sweep",
)  # fmt: skip
RUNNER_POINTS = (
    "runner.queued", "runner.started", "runner.outcome", "runner.before_commit", "runner.committed", "runner.finished",
    "admit.digested", "admit.judged", "admit.settled",
)  # fmt: skip
#: Passed only where files of the same content or name are admitted together.
GROUP_POINTS = ("admit.group",)

#: Places where something may be put off without harm; see :func:`buggify`.
OPTIONAL_POINTS = ("control.look", "entrance.time_is_up", "sweep.time_is_up")
Nemesis = Callable[[str], bool]
_NEMESIS: ContextVar[Nemesis | None] = ContextVar("nemesis", default=None)


@contextmanager
def beset(nemesis: Nemesis) -> Iterator[None]:
    """Ask `nemesis` at every named place of this context what is to befall the program there."""
    token = _NEMESIS.set(nemesis)
    try:
        yield
    finally:
        _NEMESIS.reset(token)


def buggify(name: str) -> bool:
    """Return whether a simulation has here what is rare but allowed be done; it may delay, fail or end us instead."""
    nemesis = _NEMESIS.get()
    return nemesis is not None and nemesis(name)


def crash_point(name: str) -> None:
    """End the process here if the environment asks for it."""
    buggify(name)
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    place, _, count = wanted.partition(":")
    if place != name:
        return
    if int(count or 1) <= 1:
        os._exit(137)
    os.environ[VARIABLE] = f"{place}:{int(count) - 1}"
