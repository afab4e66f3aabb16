"""Looking at every task there could be, a little at a time: what a restart finds first is what had not been done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, groupby

from cryoframe.execution.ledger import Ledger
from cryoframe.kernel.plan import Node
from cryoframe.records.crash import buggify

#: A look that takes longer goes on between steps, for so long at a time.
LOOK_S, SLICE_S = 2.0, 0.1
_AT_ONCE = 16


class Sweep:
    """One look at everything.

    Parameters
    ----------
    ledger
        Knows what there is.
    consider
        Called for each stage and item, stages before those that need them. Stages over the set have their turn when
        all items have had theirs: before that, what is known of the items may be out of date.
    """

    def __init__(self, ledger: Ledger, consider: Callable[[Node, str], None]) -> None:
        self._ledger, self._consider = ledger, consider
        self._rest: Iterator[tuple[Node, str]] | None = None
        self._passed_over: dict[str, Node] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is something left to look at."""
        return self._rest is not None

    def begin(self, ledger: Ledger) -> None:
        """Look at everything (anew), for :data:`LOOK_S` at once."""
        self._ledger, self._rest, self._passed_over = ledger, self._all(), {}
        self.go_on(LOOK_S)

    def go_on(self, limit_s: float = SLICE_S) -> None:
        """Look at what is left for so long."""
        end_s = time.monotonic() + limit_s
        while self._rest is not None:
            for _ in range(_AT_ONCE):
                found = next(self._rest, None)
                if found is None:
                    self._rest = None
                    break
                try:
                    self._consider(*found)
                except BaseException:
                    self._rest = chain([found], self._rest)  # whoever goes on begins with it
                    raise
            if time.monotonic() >= end_s or buggify("sweep.time_is_up"):
                return

    def postpones(self, node: Node) -> bool:
        """Whether a stage has to wait for the end of the look; it is looked at then."""
        if self.is_on and node.domain == "set":
            self._passed_over[node.id] = node
            return True
        return False

    def _all(self) -> Iterator[tuple[Node, str]]:
        for domain, group in groupby(self._ledger.plan.nodes, key=lambda node: node.domain):
            nodes = list(group)
            if domain == "set":
                yield from ((node, unit) for node in nodes for unit in self._ledger.units(node))
                continue
            for first in (True, False):
                for unit in self._ledger.units(nodes[0]):
                    if first is not all(self._ledger.known.is_done(node.id, unit) for node in nodes):
                        yield from ((node, unit) for node in nodes)
        while self._passed_over:
            node = self._passed_over.pop(next(iter(self._passed_over)))
            yield from ((node, unit) for unit in self._ledger.units(node))
