"""The tasks that wait: for a worker, in order of urgency, or for their time to be tried again. Runs nothing."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryoframe.execution.ledger import Due, Ledger


@dataclass(frozen=True, order=True)
class _Place:
    """A place in a queue; those of equal `rank` come in the order in which they were put there."""

    rank: float
    number: int
    due: Due = field(compare=False)


class Waiting:
    """Queue of due tasks: later stages first, so that items are finished rather than begun; then first come.

    Parameters
    ----------
    stages
        Stage ids in the order of the plan.
    newest
        Last come is first served instead: with more arriving than can be done, what is shown is what arrives.
    """

    def __init__(self, stages: Sequence[str], *, newest: bool = False) -> None:
        self._step = -1 if newest else 1
        self._rank = {stage_id: -at for at, stage_id in enumerate(stages)}
        self._ready: list[_Place] = []
        self._later: list[_Place] = []
        self._number = 0

    @classmethod
    def of(cls, ledger: Ledger) -> Waiting:
        """Return an empty queue for the tasks of a ledger, in the order that its configuration asks for."""
        return cls([node.id for node in ledger.plan.nodes], newest=ledger.config.watch.order == "newest")

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def push(self, due: Due, *, delay_s: float = 0.0) -> None:
        """Put a task in, to be had after `delay_s` at the earliest."""
        self._number += 1
        if delay_s > 0:
            heapq.heappush(self._later, _Place(time.monotonic() + delay_s, self._number, due))
        else:
            heapq.heappush(self._ready, _Place(self._rank[due.node.id], self._step * self._number, due))

    def pop(self, may: Callable[[Due], bool]) -> Due | None:
        """Take out the first task that may start now; None where there is none."""
        while self._later and self._later[0].rank <= time.monotonic():
            self.push(heapq.heappop(self._later).due)
        passed: list[_Place] = []
        found = None
        while self._ready and found is None:
            place = heapq.heappop(self._ready)
            if may(place.due):
                found = place.due
            else:
                passed.append(place)
        for place in passed:
            heapq.heappush(self._ready, place)
        return found

    def until_s(self) -> float:
        """Return the time until a task can be had: 0 if one can, infinity if none will."""
        if self._ready:
            return 0.0
        return max(0.0, self._later[0].rank - time.monotonic()) if self._later else float("inf")

    def clear(self) -> list[Due]:
        """Take everything out."""
        taken = [place.due for place in (*self._ready, *self._later)]
        self._ready, self._later = [], []
        return taken
