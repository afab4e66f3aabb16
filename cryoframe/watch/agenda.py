"""When each file is to be looked at next. Looks at none, has no clock of its own."""

from __future__ import annotations

import heapq
import itertools
import math

from cryoframe.watch.readiness import Entry


class Agenda:
    """Files by the time at which they are due; an entry's `due_s` says when, and what else is written here is void."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._count = itertools.count()

    def put(self, entry: Entry, at_s: float) -> None:
        """Have a file looked at then, and no sooner than it may be; an earlier date for it is void."""
        entry.due_s = max(at_s, entry.not_before_s)
        heapq.heappush(self._heap, (entry.due_s, next(self._count), entry))

    def take(self, now_s: float, most: int) -> list[Entry]:
        """Take out the files that are due, the longest due first; each is to be put back, or was the last time."""
        due: list[Entry] = []
        while len(due) < most and self.next_s <= now_s:
            entry = heapq.heappop(self._heap)[2]
            if entry.not_before_s > now_s:
                self.put(entry, entry.not_before_s)
                continue
            entry.due_s = math.inf
            due.append(entry)
        return due

    @property
    def next_s(self) -> float:
        """Return when the next file is due; infinite if none is."""
        while self._heap:
            at_s, _, entry = self._heap[0]
            if entry.due_s == at_s and entry.is_pending:
                return at_s
            heapq.heappop(self._heap)
        return math.inf
