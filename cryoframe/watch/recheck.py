"""Reads doubted files of one root again, in a process apart, while nothing else is to be read; `doubts` says which."""

from __future__ import annotations

import os
import time
from collections import deque

from cryoframe.errors import EnvironmentFault, FileError
from cryoframe.execution.admit import Reading
from cryoframe.execution.outbox import Outbox
from cryoframe.execution.run import Run
from cryoframe.watch.intake import Intake
from cryoframe.watch.readiness import Entry
from cryoframe.watch.roots import Root, Said

#: So many are read before others have their turn: few bytes, since what lands meanwhile is read beside them.
GROUP, GROUP_BYTES = 50, 64 << 20
#: One that cannot be read is not tried again before this.
AGAIN_S = 60.0


class Recheck:
    """Finds out whether files whose ctime alone changed have another content.

    Parameters
    ----------
    run, root, outbox
        As for the entrance: what is found is said there, and a file of another content is judged anew.
    """

    def __init__(self, run: Run, root: Root, outbox: Outbox) -> None:
        self._run, self._root, self._outbox = run, root, outbox
        self._intake = Intake((), ())  # no header is read
        self._inside: deque[tuple[Entry, int]] = deque()
        self._began_s = 0.0

    @property
    def is_reading(self) -> bool:
        """Whether a file is being read."""
        return bool(self._inside)

    @property
    def is_urgent(self) -> bool:
        """Whether the session should not end before more of them are read."""
        return self._root.doubts.is_urgent or self.is_reading

    @property
    def due_s(self) -> float:
        """Return when there is something to be done; infinite if there is nothing to be read."""
        away = self._root.offline or self._root.is_silent
        return self._root.doubts.due_s if not (away or self.is_reading) else float("inf")

    def close(self) -> None:
        """End the reading process; what was being read is still in doubt."""
        while self._inside:
            self._put_back(*self._inside.popleft())
        self._intake.close()

    def work(self, *, is_free: bool) -> bool:
        """Go on; nothing is begun unless the way in `is_free`. Returns whether a file turned out to be another."""
        if not self._inside and is_free and time.monotonic() >= self.due_s:
            self._begin()
        n_other, goes_on = 0, bool(self._inside)
        while goes_on:
            some, goes_on = self._step()
            n_other += some
        self._outbox.flush()
        return bool(n_other)

    def _step(self) -> tuple[int, bool]:
        """Take one answer; returns how many files turned out to be others, and whether there may be more answers."""
        (entry, n_tries), n_other, failed = self._inside[0], 0, False
        try:
            reading = self._intake.outcome(0.0)
            if reading is None:
                return 0, False
            n_other = int(self._judge(entry, reading))
        except (EnvironmentFault, FileError):
            failed = True
            self._put_back(entry, n_tries + 1)
        self._inside.popleft()
        if not self._intake.paths:  # it has read all there was, or was lost
            self._put_back_all()
        if not self._inside:
            self._ended(failed=failed)
        return n_other, bool(self._inside)

    def _begin(self) -> None:
        self._inside.extend(self._root.doubts.take(GROUP, GROUP_BYTES))
        self._began_s = time.monotonic()
        if not self._inside:
            return
        try:
            self._intake.begin([self._root.path(entry) for entry, _ in self._inside], "")
        except EnvironmentFault:
            self._put_back_all()
            self._ended(failed=True)

    def _judge(self, entry: Entry, reading: Reading) -> bool:
        """Say what was found of a file; returns whether it is another."""
        row = self._run.state.file(os.fspath(self._root.folder), entry.path)
        if row is None or not entry.is_in:
            return False  # it was seen to change meanwhile, and is judged as any other
        if reading.digest == row.digest:
            if entry.path not in self._root.doubts:  # it was not touched again while it was read
                entry.ctime_ns = reading.ctime_ns
                self._say(self._root.unchanged(entry, row.digest))
            self._root.doubts.same(entry)
            return False
        self._root.doubts.other()
        self._say(self._root.reopened(entry, time.monotonic()))
        return True

    def _say(self, said: Said) -> None:
        cls, payload = said
        self._outbox.say(cls, **payload)

    def _ended(self, *, failed: bool) -> None:
        now_s = time.monotonic()
        self._root.doubts.read(now_s - self._began_s, now_s, at_least_s=AGAIN_S if failed else 0.0)
        if not len(self._root.doubts):
            self._intake.close()

    def _put_back(self, entry: Entry, n_tries: int) -> None:
        if entry.is_in:
            self._root.doubts.add(entry, n_tries=n_tries)
            if not self._root.may_have(entry):
                self._root.doubts.drop({entry.path})

    def _put_back_all(self) -> None:
        while self._inside:
            self._put_back(*self._inside.popleft())
