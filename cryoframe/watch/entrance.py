"""Brings the settled files of one root into the run, some at a time; they are read in a process apart meanwhile."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cryoframe.errors import EnvironmentFault, FileError, StoreError
from cryoframe.execution.admit import Arrival
from cryoframe.execution.outbox import Outbox
from cryoframe.execution.run import Run
from cryoframe.records.crash import buggify
from cryoframe.records.events import Scalar
from cryoframe.watch.doorstep import Doorstep
from cryoframe.watch.intake import Intake
from cryoframe.watch.readiness import Entry
from cryoframe.watch.roots import Root, Said
from cryoframe.watch.scanner import Look

#: A reading that takes longer goes on while the daemon does something else.
LINGER_S = 0.05
#: Files admitted in one transaction: two events each, so that a group is what the disk takes in one go.
GROUP = 200
#: A group is begun with no more than this, so that a reload or an end need not wait for many large movies.
_GROUP_BYTES, _NAME_BYTES = 256 << 20, 30_000

#: A file that is being read, what is known besides its header, and how it was when it was judged.
Inside = tuple[Entry, dict[str, Scalar], Look]


class Entrance:
    """The way from a root into the run.

    Parameters
    ----------
    run
        Where files are admitted.
    root
        Whose files.
    doorstep
        Judges what has settled.
    outbox
        Keeps what a full disk refuses until it can be said.
    """

    def __init__(self, run: Run, root: Root, doorstep: Doorstep, outbox: Outbox) -> None:
        self._run, self._root, self._doorstep, self._outbox = run, root, doorstep, outbox
        root.required_s = partial(doorstep.required_s, root)
        self._intake = Intake(run.config.plugin_files, run.config.blocked)
        self._inside: deque[Inside] = deque()
        self._queue: deque[Entry] = deque()
        self._read: frozenset[str] = frozenset()  # to be admitted next
        #: Whether time was up before the files were.
        self.is_pressed = False

    @property
    def is_reading(self) -> bool:
        """Whether a file is being read."""
        return bool(self._inside)

    @property
    def is_free(self) -> bool:
        """Whether nothing is being read, nor could be."""
        return not self._inside and not self.is_pressed

    def close(self) -> None:
        """End the reading process."""
        self._intake.close()

    def renew(self) -> None:
        """Read with the plugins that are configured now; what is being read is read again."""
        self._intake.close()
        self._inside.clear()
        self._queue.clear()
        self._intake = Intake(self._run.config.plugin_files, self._run.config.blocked)

    def work(self, until_s: float) -> bool:
        """Admit what can be admitted by then; returns whether anything was decided."""
        decided, ready = False, self._next()
        self.is_pressed = False
        while True:
            if not self._inside:
                decided |= self._begin(ready)
                if not self._inside:
                    return decided
            arrivals, some = self._collect()
            decided, self._read = decided or some, frozenset(arrival.name for arrival in arrivals)
            if not self._inside and time.monotonic() < until_s:
                decided |= self._begin(ready)  # they are read while the others are admitted
            decided |= self._admit(arrivals)
            self._read = frozenset()
            if not arrivals or time.monotonic() >= until_s or buggify("entrance.time_is_up"):
                self.is_pressed = bool(arrivals)
                return decided

    def _next(self) -> Iterator[Entry]:
        """Yield the files that are worth being read; all that are pending are gone through when there is no other."""
        if not self._queue:
            self._queue.extend(self._ready())
        while self._queue and not (self._root.offline or self._root.is_silent):
            entry = self._queue.popleft()
            if entry.is_pending and entry.is_ripe and entry.not_before_s <= time.monotonic():
                yield entry

    def _ready(self) -> list[Entry]:
        """Return the files that have stood still for long enough and are not being read."""
        if self._root.offline or self._root.is_silent:
            return []
        now_s, busy = time.monotonic(), {entry.path for entry, _, _ in self._inside} | self._read
        return [entry for entry in self._root.ripe(busy) if entry.not_before_s <= now_s]

    def _begin(self, ready: Iterator[Entry]) -> bool:
        """Have the next files read that are worth it; returns whether one was decided at once."""
        begun: list[Inside] = []
        said: list[Said] = []
        n_bytes = n_name_bytes = 0
        decided = False
        for entry in ready:
            facts, refused = self._judged(entry)
            if refused is not None:
                said.append(refused)
                decided = True
            if facts is None or entry.look is None:
                continue
            if entry.announced != (entry.size, entry.mtime_ns):
                said.append(self._root.announce(entry))
            begun.append((entry, facts, entry.look))
            n_bytes += entry.size
            n_name_bytes += len(json.dumps(os.fspath(self._root.path(entry)))) + 50  # as it goes through the pipe
            if len(begun) >= GROUP or n_bytes >= _GROUP_BYTES or n_name_bytes >= _NAME_BYTES:
                break
        self._publish(said)
        if begun:
            try:
                self._intake.begin([self._root.path(entry) for entry, _, _ in begun], self._root.kind)
                self._inside.extend(begun)
            except EnvironmentFault as error:
                self._put_off(begun[0][0], error)
        return decided

    def _judged(self, entry: Entry) -> tuple[dict[str, Scalar] | None, Said | None]:
        """Return what is known besides the header, None if it has to wait; and what is to be said if it is refused."""
        now_s = time.monotonic()
        try:
            facts = self._doorstep.facts(self._root, entry, now_s)
        except EnvironmentFault as error:
            self._put_off(entry, error)
            return None, None
        except FileError as error:
            return None, self._root.reject(entry, type(error).__name__, str(error.what))
        if facts is None:
            entry.not_before_s = now_s + self._root.config.poll_s
        return facts, None

    def _collect(self) -> tuple[list[Arrival], bool]:
        """Return what was read by now, and whether a file was refused."""
        found: list[Arrival] = []
        said: list[Said] = []
        end_s = time.monotonic() + LINGER_S
        while self._inside:
            entry, facts, judged = self._inside[0]
            try:
                reading = self._intake.outcome(max(0.0, end_s - time.monotonic()))
                if reading is None:
                    break
                entry.is_ripe = False  # whatever comes of it: one that has changed is to be looked at again
                if _is_as_judged(entry, judged) and judged[:2] == (reading.size, reading.mtime_ns):
                    path, root = self._root.path(entry), self._root
                    found.append(Arrival(entry.path, path, root.kind, facts, root.folder, reading))
                else:
                    entry.n_looks = 0
            except EnvironmentFault as error:
                self._put_off(entry, error)
            except FileError as error:
                entry.is_ripe = False
                if _is_as_judged(entry, judged):
                    said.append(self._root.reject(entry, type(error).__name__, str(error.what)))
                else:  # it is another file by now, and settles anew
                    entry.n_looks = 0
            self._inside.popleft()
            if not self._intake.paths:  # its process was lost, or it has read all there was
                self._inside.clear()
        self._publish(said)
        return found, bool(said)

    def _admit(self, arrivals: list[Arrival]) -> bool:
        """Admit files in one transaction; the journal has them, and the entries follow the journal."""
        if not arrivals:
            return False
        lost: list[Path] = []

        def exists(path: Path) -> bool:
            lost.append(path)
            there = self._intake.exists(path)
            lost.pop()
            return there

        try:
            self._run.admit_read(arrivals, exists=exists)
        except EnvironmentFault as error:
            for arrival in arrivals:
                if self._is_in(arrival):
                    self._follow(arrival)
                elif lost and len(arrivals) > 1:  # one whose twin is out of reach keeps nobody else out
                    self._admit([arrival])
                else:
                    self._put_off(self._root.entries[arrival.name], error)
            return bool(lost)
        for arrival in arrivals:
            self._follow(arrival)
        return True

    def _is_in(self, arrival: Arrival) -> bool:
        """Whether the journal has the file as it was read."""
        row, read = self._run.state.file(os.fspath(self._root.folder), arrival.name), arrival.reading
        if row is None or row.status not in ("settled", "duplicate"):
            return False
        return (row.digest, row.size, row.mtime_ns) == (read.digest, read.size, read.mtime_ns)

    def _follow(self, arrival: Arrival) -> None:
        """Take over what the journal says of a file that was admitted."""
        folder, entry = os.fspath(self._root.folder), self._root.entries[arrival.name]
        row = self._run.state.file(folder, arrival.name)
        if row is None:
            raise StoreError(f"{entry.path} was admitted and the journal does not know it")
        entry.status, entry.reason = Entry.of(row).status, row.reason
        entry.settle(row)
        self._root.decided(entry)

    def _put_off(self, entry: Entry, error: EnvironmentFault) -> None:
        entry.reason = str(error.what)
        entry.not_before_s = max(entry.not_before_s, time.monotonic() + self._root.config.poll_s)

    def _publish(self, said: list[Said]) -> None:
        for cls, payload in said:
            self._outbox.say(cls, **payload)
        self._outbox.flush()


def _is_as_judged(entry: Entry, judged: Look) -> bool:
    """Whether nothing was seen since of the file, nor of its side-car, which would have it judged anew."""
    return entry.is_pending and entry.look is judged and entry.is_still(judged)
