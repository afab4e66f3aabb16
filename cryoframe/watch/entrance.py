"""Brings the settled files of one root into the run, one after the other; each is read in a process apart meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from cryoframe.errors import EnvironmentFault, FileError, StoreError
from cryoframe.execution.run import Run
from cryoframe.records.events import Scalar
from cryoframe.watch.doorstep import Doorstep
from cryoframe.watch.intake import Intake
from cryoframe.watch.readiness import Entry
from cryoframe.watch.roots import Root, Said

#: A reading that takes longer goes on while the daemon does something else.
LINGER_S = 0.05


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
    """

    def __init__(self, run: Run, root: Root, doorstep: Doorstep) -> None:
        self._run, self._root, self._doorstep = run, root, doorstep
        self._intake = Intake(run.config.plugin_files, run.config.blocked)
        self._inside: tuple[Entry, dict[str, Scalar]] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a file is being read."""
        return self._inside is not None

    def close(self) -> None:
        """End the reading process."""
        self._intake.close()

    def renew(self) -> None:
        """Read with the plugins that are configured now; what is being read is read again."""
        self._intake.close()
        self._inside = None
        self._intake = Intake(self._run.config.plugin_files, self._run.config.blocked)

    def work(self, until_s: float) -> bool:
        """Admit what can be admitted by then; returns whether anything was decided."""
        decided = False
        ready = self._ready()
        while True:
            if self._inside is None:
                entry = next(ready, None)
                if entry is None:
                    return decided
                decided |= self._guarded(entry, self._begin)
            if self._inside is not None:
                entry = self._inside[0]
                decided |= self._guarded(entry, self._collect)
                if self._inside is not None:
                    return decided
            if time.monotonic() >= until_s:
                return decided

    def _ready(self) -> Iterator[Entry]:
        now_s = time.monotonic()
        for entry in [] if self._root.offline else self._root.pending():
            if entry.n_looks < 2 or entry.not_before_s > now_s or not entry.is_pending:
                continue
            if self._doorstep.remaining_s(self._root, entry, now_s) <= 0:
                yield entry

    def _guarded(self, entry: Entry, step: Callable[[Entry, float], bool]) -> bool:
        """Take a step with a file; whatever comes of it, the journal has it and the entry follows the journal."""
        now_s = time.monotonic()
        try:
            return step(entry, now_s)
        except EnvironmentFault as error:
            self._inside = None
            poll_s = self._root.config.poll_s
            entry.reason, entry.not_before_s = str(error.what), max(entry.not_before_s, now_s + poll_s)
            return False
        except FileError as error:
            self._inside = None
            self._publish(self._root.reject(entry, type(error).__name__, str(error.what)))
            return True

    def _begin(self, entry: Entry, now_s: float) -> bool:
        facts = self._doorstep.facts(self._root, entry, now_s)
        if facts is None:
            entry.not_before_s = now_s + self._root.config.poll_s
            return False
        if entry.announced != (entry.size, entry.mtime_ns):
            self._publish(self._root.announce(entry))
        self._intake.begin(self._root.path(entry), self._root.kind)
        self._inside = (entry, facts)
        return False

    def _collect(self, entry: Entry, now_s: float) -> bool:
        assert self._inside is not None
        del now_s
        reading = self._intake.outcome(LINGER_S)
        if reading is None:
            return False
        (_, facts), self._inside = self._inside, None
        if not entry.is_pending:  # it went away meanwhile
            return False
        path, root = self._root.path(entry), self._root.folder
        self._run.admit_read(path, self._root.kind, facts, root, reading=reading, exists=self._intake.exists)
        row = self._run.state.file(os.fspath(root), entry.path)
        if row is None:
            raise StoreError(f"{entry.path} was admitted and the journal does not know it")
        entry.status, entry.reason = Entry.of(row).status, row.reason
        entry.size, entry.mtime_ns, entry.announced = row.size, row.mtime_ns, (row.size, row.mtime_ns)
        return True

    def _publish(self, said: Said) -> None:
        cls, payload = said
        self._run.bus.publish_many([self._run.bus.make(cls, "", **payload)])
