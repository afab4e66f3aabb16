"""Which admitted files are to be read again because their ctime alone changed, and how soon. Reads none, has no clock.

Somebody may have rewritten such a file and put size and time back. Far more often its rights, its owner or its number
of links changed, or its share was mounted or moved: then every file is in doubt at once, and reading terabytes again
for that would take the share from those who write to it. So a sample is read at once, and where it shows nothing the
rest is read for a tenth of the time only; one file with another content, and all are read as fast as they can be. Files
that are in doubt again and again and never differ show that the ctime tells nothing here; it is not looked at any more.
"""

from __future__ import annotations

import heapq
import math
import os
import zlib
from collections.abc import Collection, Mapping

from cryoframe.watch.readiness import Entry
from cryoframe.watch.scanner import Seen

#: So many are read at once: if all are as they were, no more than one in ten is not (95 %).
SAMPLE = 30
#: So much of the time goes into the others.
SHARE = 0.1
#: So many files that were as they had been twice over, and the ctime is not believed any more in this session.
FALSE_ALARMS = 10


class Doubts:
    """The doubted files of one root.

    Parameters
    ----------
    trusted
        Whether a change of the ctime alone counts at all.
    """

    def __init__(self, *, trusted: bool) -> None:
        self.trusted = trusted
        self._there: dict[str, Entry] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._n_same = self._n_false = 0
        self._rest_until_s = -math.inf
        self._is_told = False

    def __len__(self) -> int:
        return len(self._there)

    def __contains__(self, path: object) -> bool:
        return path in self._there

    @property
    def is_urgent(self) -> bool:
        """Whether there are some that were not tried, and nobody knows yet whether the files are what they were."""
        return bool(self._heap) and self._heap[0][0] == 0 and self._n_same < SAMPLE

    @property
    def due_s(self) -> float:
        """Return when the next may be read; infinite if there is none."""
        return self._rest_until_s if self._there else math.inf

    def add(self, entry: Entry, *, n_tries: int = 0) -> None:
        """Doubt a file; those that could not be read come after those that were not tried."""
        if self.trusted and entry.path not in self._there:
            self._there[entry.path] = entry
            # Spread over all folders, the same at each start: the first ones are a fair sample.
            heapq.heappush(self._heap, (n_tries, zlib.crc32(os.fsencode(entry.path)), entry.path))

    def take(self, most: int, most_bytes: int) -> list[tuple[Entry, int]]:
        """Take out some that are still in doubt, with how often each was tried: of the sample, as long as it is due."""
        found: list[tuple[Entry, int]] = []
        n_bytes, most = 0, min(most, SAMPLE - self._n_same) if self.is_urgent else most
        while self._heap and len(found) < most and n_bytes < most_bytes:
            n_tries, _, path = heapq.heappop(self._heap)
            entry = self._there.pop(path)
            if entry.is_in and self.trusted:
                found.append((entry, n_tries))
                n_bytes += entry.size
        return found

    def count(self, changed: Mapping[str, Seen], entries: Mapping[str, Entry]) -> bool:
        """Whether anything of what changed counts: more than the ctime of admitted files where that is not believed."""
        if self.trusted:
            return bool(changed)
        return any((entry := entries.get(path)) is None or not entry.is_touched(its) for path, its in changed.items())

    def drop(self, paths: Collection[str]) -> None:
        """Forget files that are gone; those that return are doubted again, whatever their ctime is then."""
        if dropped := self._there.keys() & paths:
            for path in dropped:
                self._there.pop(path).ctime_ns = -1
            self._heap = [place for place in self._heap if place[-1] in self._there]
            heapq.heapify(self._heap)

    def same(self, entry: Entry) -> None:
        """Take note that one is as it was."""
        self._n_same += 1
        entry.n_same += 1
        self._n_false += entry.n_same > 1
        if self._n_false >= FALSE_ALARMS:
            self.trusted = self._is_told = False
            self._there.clear()
            self._heap.clear()

    def other(self) -> None:
        """Take note that one is not as it was: the others may not be either."""
        self._n_same = self._n_false = 0
        self._rest_until_s = -math.inf

    def read(self, took_s: float, now_s: float, *, at_least_s: float = 0.0) -> None:
        """Take note that some were read, which took so long."""
        if not self._there:
            self._n_same, self._is_told = 0, self._is_told and not self.trusted
        rest_s = took_s * (1.0 / SHARE - 1.0) if self._n_same >= SAMPLE else 0.0
        self._rest_until_s = now_s + max(rest_s, at_least_s)

    def news(self) -> str:
        """Return what a person should know who was not told yet, or an empty text; once for all that are in doubt."""
        told, self._is_told = self._is_told, self._is_told or bool(self.note and not 0 < len(self) <= SAMPLE)
        return "" if told or not self._is_told else self.note

    @property
    def note(self) -> str:
        """Return what somebody who looks at the session should know of them, or an empty text."""
        if self._there:
            return (
                f"the ctime of {len(self._there)} files changed, and nothing else that can be seen: they are read"
                f" again while nothing else is, {SAMPLE} at once and, if those are as they were, the others for"
                f" {SHARE:.0%} of the time"
            )
        if self._n_false >= FALSE_ALARMS and not self.trusted:
            return (
                "changes of the ctime alone are not looked at any more in this session: files were what they had been"
                ' again and again; recheck = "never" in [watch] says so from the start'
            )
        return ""
