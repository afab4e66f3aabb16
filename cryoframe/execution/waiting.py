"""The tasks that wait: for a worker, in order of urgency, for their time to be tried again, for a share to return.

Runs nothing.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cryoframe.execution.ledger import Due, Ledger
from cryoframe.kernel.plan import Node


class Place(NamedTuple):
    """A place in a queue; those of equal `rank` come in the order in which they were put there.

    What the task is made of is kept of stages over the set alone: of an item it is found again when its turn comes.
    """

    rank: float
    number: int
    node: Node
    item_id: str
    key: str
    due: Due | None = None


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
        self._ready: list[Place] = []
        self._later: list[Place] = []
        #: By item, what reads from a folder that cannot be reached; and the folders for which that is so.
        self._aside: dict[str, list[Place]] = {}
        self._n_aside, self._missing = 0, list[Path]()
        self._number = 0

    @classmethod
    def of(cls, ledger: Ledger) -> Waiting:
        """Return an empty queue for the tasks of a ledger, in the order that its configuration asks for."""
        return cls([node.id for node in ledger.plan.nodes], newest=ledger.config.watch.order == "newest")

    def __len__(self) -> int:
        return len(self._ready) + len(self._later) + self._n_aside

    def push(self, due: Due, *, delay_s: float = 0.0) -> None:
        """Put a task in, to be had after `delay_s` at the earliest."""
        place = Place(0.0, 0, due.node, due.item_id, due.key, due if due.node.domain == "set" else None)
        if delay_s > 0:
            self._number += 1
            heapq.heappush(self._later, place._replace(rank=time.monotonic() + delay_s, number=self._number))
        else:
            self._put(place)

    def _put(self, place: Place) -> None:
        self._number += 1
        heapq.heappush(self._ready, place._replace(rank=self._rank[place.node.id], number=self._step * self._number))

    def set_aside(self, place: Place) -> None:
        """Keep a task that was taken out until other folders are missing: there may be very many of them, for hours."""
        self._aside.setdefault(place.item_id, []).append(place)
        self._n_aside += 1

    def missing(self, folders: Collection[Path]) -> None:
        """Take note of the folders that cannot be reached; if they are others than before, all may be tried again."""
        if self._missing != list(folders):
            self._missing = list(folders)
            for item_id in list(self._aside):
                self.take_up(item_id)

    def take_up(self, item_id: str) -> None:
        """Have an item's tasks tried again at their old place."""
        for place in self._aside.pop(item_id, ()):
            heapq.heappush(self._ready, place)
            self._n_aside -= 1

    def pop(self, may: Callable[[Node], bool]) -> Place | None:
        """Take out the first task of a stage that may start now; None where there is none."""
        while self._later and self._later[0].rank <= time.monotonic():
            self._put(heapq.heappop(self._later))
        passed: list[Place] = []
        found = None
        while self._ready and found is None:
            place = heapq.heappop(self._ready)
            if may(place.node):
                found = place
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

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield (stage, item) of every task."""
        queues = (self._ready, self._later, *self._aside.values())
        yield from ((place.node.id, place.item_id) for place in chain.from_iterable(queues))

    def clear(self) -> list[Place]:
        """Take everything out."""
        taken = [*self._ready, *self._later, *chain.from_iterable(self._aside.values())]
        self._ready, self._later, self._aside, self._n_aside = [], [], {}, 0
        return taken
