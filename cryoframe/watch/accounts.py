"""The sum of states: every file under the roots has exactly one, here, on the disk and in the journal alike."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryoframe.errors import StoreError
from cryoframe.records.bus import Bus
from cryoframe.records.session_events import Reconciled
from cryoframe.records.state import State
from cryoframe.watch.readiness import PENDING, STATUSES
from cryoframe.watch.roots import Root

#: Where nothing changes, the watermark is journalled no more often than this.
QUIET_S = 60.0


@dataclass(frozen=True)
class Tick:
    """What the daemon knows after a rescan; `counts` has every status and their sum as ``seen``."""

    generation: int
    counts: Mapping[str, int]
    tasks: Mapping[str, Mapping[str, int]]
    offline: Mapping[str, str] = field(default_factory=dict)
    #: Files that wait for something, and for what.
    waiting_for: Mapping[str, str] = field(default_factory=dict)
    paused: str = ""
    note: str = ""
    scan_s: float = 0.0


def counts(roots: Iterable[Root]) -> dict[str, int]:
    """Return how many files have each status, and their sum as ``seen``."""
    total: Counter[str] = Counter()
    n_files = 0
    for root in roots:
        total += root.counts()
        n_files += len(root.entries)
    return {"seen": n_files, **{status: total[status] for status in STATUSES}}


def check(roots: Sequence[Root], state: State) -> None:
    """Check that every file has exactly one status, and that the journal agrees.

    Raises
    ------
    StoreError
        If a file was lost count of, which must not happen.
    """
    found = counts(roots)
    total = sum(found[status] for status in STATUSES)
    mine = {
        "seen": sum(found[status] for status in PENDING),
        "settled": found["admitted"],
        "rejected": found["rejected"] + found["incomplete"],
        "ignored": found["ignored"],
        "duplicate": found["duplicate"],
    }
    whole = found["seen"] == total and all(root.is_accounted_for() for root in roots)
    if not whole or {name: count for name, count in mine.items() if count} != _kept(roots, state):
        raise StoreError(
            f"the files do not add up: {found} where the journal has {_kept(roots, state)}",
            expected="each file in one state",
            remedy="Start again; if it comes back, run `cryoframe rebuild`.",
        )


class Watermarks:
    """Numbers the rescans that found everything accounted for, on from where an earlier process ended.

    Parameters
    ----------
    bus, state
        Of the run.
    """

    def __init__(self, bus: Bus, state: State) -> None:
        self._bus = bus
        self._generation = max((mark.generation for mark in state.watermarks()), default=0)
        self._said: dict[str, tuple[float, Counter[str]]] = {}

    def note(self, roots: Iterable[Root], up_to_utc: str, now_s: float) -> None:
        """Journal how far each root that is seen whole is complete: when something changed, and else once a minute."""
        self._generation += 1
        made = []
        for root in roots:
            name, found = os.fspath(root.folder), root.counts()
            at_s, before = self._said.get(name, (float("-inf"), None))
            if root.unlisted or root.is_bare or (found == before and now_s - at_s < QUIET_S):
                continue
            self._said[name] = (now_s, found)
            numbers = {"generation": self._generation, "n_files": len(root.entries)}
            made.append(self._bus.make(Reconciled, "", root=name, up_to_utc=up_to_utc, **numbers))
        if made:
            self._bus.publish_many(made)


def _kept(roots: Iterable[Root], state: State) -> dict[str, int]:
    kept: Counter[str] = Counter()
    for root in roots:
        kept.update(state.file_counts(os.fspath(root.folder)))
    kept["seen"] += kept.pop("superseded", 0)
    return {name: count for name, count in kept.items() if count}
