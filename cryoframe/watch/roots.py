"""The files of one root: what a rescan changes, what looks at them show, what is to be said. Admits nothing."""

from __future__ import annotations

import errno
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cryoframe.errors import EnvironmentFault
from cryoframe.kernel.config import WatchConfig
from cryoframe.records.events import FileEvent, FileIgnored, FileRejected, FileSeen, Value
from cryoframe.records.session_events import FileUnchanged
from cryoframe.records.state import FileRow
from cryoframe.watch.agenda import Agenda
from cryoframe.watch.doubts import Doubts
from cryoframe.watch.readiness import (
    EPU_ENDINGS,
    MAX_REFUSED,
    PASSING,
    PATTERNS,
    SIDE_CARS,
    UNREADABLE,
    VANISHED,
    Entry,
    is_of_the_system,
    is_temporary,
    required_s,
    rule_against,
    side_cars,
)
from cryoframe.watch.scanner import Changes, Look, Scanner, Seen

Said = tuple[type[FileEvent], dict[str, Value]]
#: So many files are looked at before others have their turn.
BATCH = 2000
#: A scanner that has not answered for so long may hang, and with it whoever touches its root.
SILENT_S = 2.0
#: Looks at one file are no closer than this.
LOOKS_APART_S = 0.05
_STATUS = attrgetter("status")
_GONE = (os.strerror(errno.ENOENT), os.strerror(errno.ENOTDIR))


class Page(NamedTuple):
    """Some of what a rescan found: whether anything changed, what is to be said, whether it was the last of it.

    It came at `came_s`; looking through the tree took `scan_s`, told with the first page.
    """

    changed: bool
    said: list[Said]
    is_last: bool
    came_s: float
    scan_s: float = 0.0


class Root:
    """One watched folder.

    Parameters
    ----------
    folder
        The root; only ever read.
    kind
        What its files are: ``Movie`` or ``Micrograph``.
    config
        The ``[watch]`` section.
    rows
        What the journal says of its files.
    scanner
        Looks at the disk.
    """

    def __init__(
        self, folder: Path, kind: str, config: WatchConfig, rows: Iterable[FileRow], *, scanner: Scanner | None = None
    ) -> None:
        self.folder, self.kind, self.config = folder, kind, config
        self.entries = {row.path: Entry.of(row) for row in rows}
        #: What is still to be decided; each is on the agenda, or ripe.
        self._open = {path: entry for path, entry in self.entries.items() if entry.is_pending}
        self._agenda, self._ripe = Agenda(), dict[str, Entry]()
        #: Admitted files of which only the ctime has changed.
        self.doubts = Doubts(trusted=config.recheck == "ctime")
        for entry in self._open.values():
            entry.first_s = time.monotonic()
            self._agenda.put(entry, 0.0)
        #: How long a file has to stay as it is.
        self.required_s: Callable[[Entry], float] = self._required_s
        #: Why the root cannot be scanned now, or empty.
        self.offline = ""
        self.unreadable: tuple[str, ...] = ()
        #: Processor time of the last scan.
        self.scan_cpu_s = 0.0
        self.scanner = scanner or Scanner(folder)
        self._patterns = config.patterns or PATTERNS[kind]
        #: What the scanner was asked last: scan or look; nothing if it has answered.
        self._asked, self._asked_s, self._now_s, self._is_first = "", 0.0, 0.0, True
        self._due: list[Entry] = []
        self._on_disk: set[str] = set()
        self._temporary: dict[int, int] = {}
        self._n_files = 0

    # -- the rescan ---------------------------------------------------------------------------------------------
    def begin_rescan(self, now_s: float) -> None:
        """Have the tree looked through; :meth:`page` has what is found. Nothing else may be asked meanwhile."""
        self._asked, self._asked_s, self._now_s, self._is_first = "scan", time.monotonic(), now_s, True
        self.scanner.ask_scan()

    def page(self, timeout_s: float) -> Page | None:
        """Return some of what the rescan found, None if that takes longer.

        An outage sets `offline`, ends the rescan and says nothing of the files.
        """
        try:
            changes = self.scanner.changes(timeout_s)
        except EnvironmentFault as error:
            self._asked, self.offline = "", str(error.what)
            return Page(changed=False, said=[], is_last=True, came_s=time.monotonic())
        if changes is None:
            return None
        came_s, is_first, self._is_first = time.monotonic(), self._is_first, False
        if changes.more:
            self._asked_s = came_s
            self.scanner.ask_rest()
        else:
            self._asked = ""
        self.offline, self._n_files = "", changes.n_files
        self.unreadable = tuple(folder for folder in changes.unreadable if not is_of_the_system(folder))
        self.scan_cpu_s = changes.cpu_s
        if changes.fresh and is_first:
            self._on_disk = set()
        changed = self.doubts.count(changes.changed, self.entries) or bool(changes.gone)
        said, scan_s = list(self._reconcile(changes, self._now_s)), changes.wall_s if is_first else 0.0
        return Page(changed, said, not changes.more, came_s, scan_s)

    def rescan(self, now_s: float) -> tuple[bool, list[Said]]:
        """Look through the tree and wait for it; returns whether anything changed, and what is to be said."""
        self.begin_rescan(now_s)
        pages: list[Page] = []
        while not pages or not pages[-1].is_last:
            if (page := self.page(1.0)) is not None:
                pages.append(page)
        return any(page.changed for page in pages), [one for page in pages for one in page.said]

    @property
    def unlisted(self) -> str:
        """Return why not all that lies below the root is known, or an empty text."""
        if self.offline or not self.unreadable:
            return self.offline
        if len(self.unreadable) == 1:
            return f"a folder cannot be listed: {self.unreadable[0]}"
        return f"{len(self.unreadable)} folders cannot be listed, such as {self.unreadable[0]}"

    @property
    def is_bare(self) -> bool:
        """Whether nothing is there where the journal knows of files: perhaps its share is not mounted."""
        return not self._n_files and bool(self.entries)

    @property
    def is_asked(self) -> bool:
        """Whether the scanner was asked something and has not answered."""
        return bool(self._asked)

    @property
    def is_scanned(self) -> bool:
        """Whether what a rescan finds is taken in just now: as long as it is, the files do not add up."""
        return self._asked == "scan" and not self._is_first

    @property
    def is_silent(self) -> bool:
        """Whether the scanner has not answered for so long that nobody else should touch the root."""
        return self.is_asked and time.monotonic() - self._asked_s > SILENT_S

    def _reconcile(self, changes: Changes, now_s: float) -> Iterator[Said]:
        self._on_disk.update(changes.changed)
        self._on_disk.difference_update(changes.gone)
        for path, seen in changes.changed.items():
            yield from self._changed(path, seen, now_s, fresh=changes.fresh)
        if changes.more:
            return
        gone = self.entries.keys() - self._on_disk if changes.fresh else set(changes.gone)
        self.doubts.drop(gone)
        for path in sorted(gone):
            entry = self.entries[path]
            if entry.is_pending:
                entry.status, entry.reason = "ignored", VANISHED
                self.decided(entry)
                yield FileIgnored, {**self._place(path), "rule": VANISHED}

    def _changed(self, path: str, seen: Seen, now_s: float, *, fresh: bool) -> Iterator[Said]:
        entry = self.entries.get(path)
        if entry is None or (entry.status == "ignored" and entry.reason == VANISHED):
            yield from self._appeared(path, seen, now_s)
        elif entry.status == "ignored":
            entry.note(seen)
            self._remember(entry.reason, seen)
        elif entry.is_as(seen) and not (fresh and entry.reason.startswith(UNREADABLE)):
            entry.note(seen)
        elif entry.is_touched(seen):
            entry.note(seen)
            self.doubts.add(entry)
        else:
            decided = not entry.is_pending
            entry.note(seen)
            if decided:
                yield self.reopened(entry, now_s)
            elif not entry.is_ripe:
                self._agenda.put(entry, now_s)
        if path.lower().endswith(SIDE_CARS) and not fresh:
            yield from self._side_car_changed(path, now_s)

    def _appeared(self, path: str, seen: Seen, now_s: float) -> Iterator[Said]:
        entry = self.entries[path] = Entry(path, first_s=now_s)
        entry.note(seen)
        rule = rule_against(path, seen, self._patterns)
        if rule:
            entry.status, entry.reason = "ignored", rule
            self._remember(rule, seen)
            yield FileIgnored, {**self._place(path), "rule": rule}
            return
        self._open[path] = entry
        self._agenda.put(entry, now_s)
        entry.renamed_in = self._temporary.pop(seen.inode, -1) == seen.size
        yield self.announce(entry)

    def _remember(self, rule: str, seen: Seen) -> None:
        """Note the inode and size of a temporary file, to recognise it under its final name."""
        if is_temporary(rule) and seen.kind == "file":
            self._temporary[seen.inode] = seen.size

    def _side_car_changed(self, side_car: str, now_s: float) -> Iterator[Said]:
        folder, name = PurePosixPath(side_car).parent, PurePosixPath(side_car)
        suffixes = {PurePosixPath(pattern).suffix for pattern in self._patterns}
        movies = {f"{name.stem}{ending}{suffix}" for ending in ("", *EPU_ENDINGS) for suffix in suffixes}
        beside = {str(folder / name.stem), *(str(folder / movie) for movie in movies)}
        for path in sorted(beside & self.entries.keys()):
            entry = self.entries[path]
            if side_car not in side_cars(path):
                continue
            if entry.status == "incomplete" or entry.bare:
                yield self.reopened(entry, now_s)
            elif entry.is_pending and not entry.is_ripe:
                self._agenda.put(entry, now_s)  # it may have to wait less now

    def reopened(self, entry: Entry, now_s: float) -> Said:
        """Judge a file anew, and say that it is there."""
        entry.reopen(now_s)
        self._open[entry.path] = entry
        self._agenda.put(entry, now_s)
        return self.announce(entry)

    # -- the looks -----------------------------------------------------------------------------------------------
    def begin_look(self, now_s: float) -> None:
        """Have the files opened that are due, some at a time; :meth:`looked` takes in how they are.

        Notes
        -----
        A file is looked at when it was seen or seen to change, again soon after, and once more when it has stood still
        for as long as it should: only if that last look shows what the first one showed is it ripe. What waits for the
        long time is looked at all along, since what it waits for may come.
        """
        self._due = [] if self.offline or self._asked else self._agenda.take(now_s, BATCH)
        if self._due:
            self._asked, self._asked_s, self._now_s = "look", time.monotonic(), now_s
            self.scanner.ask_look([entry.path for entry in self._due])

    def looked(self, timeout_s: float) -> list[Said] | None:
        """Take in the looks that were asked for, and return what is to be said; None if they take longer."""
        if self._asked != "look":
            return []
        try:
            looks = self.scanner.looks(timeout_s)
        except EnvironmentFault as error:
            self._asked, self.offline = "", str(error.what)
            for entry in self._due:
                self._agenda.put(entry, self._now_s)
            return []
        if looks is None:
            return None
        self._asked = ""
        over_s = self._now_s + time.monotonic() - self._asked_s
        pending = [(entry, look) for path, look in looks.items() if (entry := self.entries[path]).is_pending]
        return [one for entry, look in pending for one in self._looked(entry, look, self._now_s, over_s)]

    def look(self, now_s: float) -> list[Said]:
        """Open the files that are due and wait for it."""
        self.begin_look(now_s)
        said = None
        while said is None:
            said = self.looked(1.0)
        return said

    def _looked(self, entry: Entry, look: Look | str, now_s: float, over_s: float) -> list[Said]:
        """Take in a look that was taken between two moments: it has stood still since the later, up to the earlier."""
        if isinstance(look, Look):
            entry.observe(look, over_s)
            self._appoint(entry, now_s)
            return []
        entry.look, entry.n_looks, entry.reason, entry.held = None, min(0, entry.n_looks) - 1, look, True
        gone = look in _GONE or entry.path not in self._on_disk  # the rescan says whether it, or its share, is gone
        passes = look in PASSING and entry.n_looks > -MAX_REFUSED
        if gone or passes or now_s - entry.first_s < self.config.settle_s:
            self._agenda.put(entry, now_s + (self.config.poll_s if passes else self._apart_s))
            return []
        return [self.reject(entry, UNREADABLE, look)]

    def _appoint(self, entry: Entry, now_s: float) -> None:
        """Say when a file is to be looked at next, or that it is ripe."""
        wanted_s = self.required_s(entry)
        left_s = entry.remaining_s(wanted_s, now_s)
        if left_s <= 0:
            entry.is_ripe = True
            self._ripe[entry.path] = entry
        elif entry.n_looks < 2 or wanted_s > self.config.settle_s:
            self._agenda.put(entry, now_s + min(max(left_s, LOOKS_APART_S), self._apart_s))
        else:
            self._agenda.put(entry, now_s + left_s)

    @property
    def _apart_s(self) -> float:
        return min(self.config.poll_s, max(LOOKS_APART_S, self.config.settle_s / 2))

    def _required_s(self, entry: Entry) -> float:
        return required_s(self.config, entry, self.kind, expected=False, confirmed=False)

    @property
    def next_look_s(self) -> float:
        """Return when a file is due to be looked at; infinite if none is, or none can be."""
        return math.inf if self.offline or self._asked else self._agenda.next_s

    def ripe(self, busy: Container[str]) -> list[Entry]:
        """Return the files that have stood still for as long as they should, but for those with which one is busy."""
        found = []
        for path, entry in [one for one in self._ripe.items() if one[0] not in busy]:
            if entry.is_ripe and entry.is_pending:
                found.append(entry)
                continue
            del self._ripe[path]
            if entry.is_pending:
                self._agenda.put(entry, 0.0)
        return found

    def renew(self, config: WatchConfig) -> None:
        """Go on with other settings; what has to settle may have to for longer, or less long."""
        self.config, self.doubts.trusted = config, config.recheck == "ctime"
        for entry in self._open.values():
            if entry.is_pending and not entry.is_ripe:
                self._agenda.put(entry, 0.0)

    def pending(self) -> list[Entry]:
        """Return the files that are still to be decided, in the order in which they came."""
        return [entry for entry in self._open.values() if entry.is_pending]

    def decided(self, entry: Entry) -> None:
        """Take note that a file is decided."""
        self._open.pop(entry.path, None)
        self._ripe.pop(entry.path, None)

    # -- saying --------------------------------------------------------------------------------------------------
    def announce(self, entry: Entry) -> Said:
        """Say that the file is there, of this size."""
        entry.announced = (entry.size, entry.mtime_ns)
        its = {"size": entry.size, "mtime_ns": entry.mtime_ns, "ctime_ns": entry.ctime_ns}
        return FileSeen, {**self._place(entry.path), **its}

    def reject(self, entry: Entry, kind: str, reason: str) -> Said:
        """Say that the file cannot be used as it is."""
        entry.status = "incomplete" if kind == "Incomplete" else "rejected"
        entry.reason = f"{kind}: {reason}"
        self.decided(entry)
        return FileRejected, {**self._place(entry.path), "kind": kind, "reason": reason}

    def counts(self) -> Counter[str]:
        """Return how many files have each status."""
        return Counter(map(_STATUS, self.entries.values()))

    def is_accounted_for(self) -> bool:
        """Whether every file on the disk has an entry, and no other is believed to be there."""
        return bool(self.offline) or (len(self._on_disk) == self._n_files and self._on_disk <= self.entries.keys())

    def path(self, entry: Entry) -> Path:
        """Return where the file lies."""
        return self.folder / entry.path

    def may_have(self, entry: Entry) -> bool:
        """Whether the file is there, as far as the last rescan tells."""
        return self.is_scanned or bool(self.offline) or entry.path in self._on_disk

    def unchanged(self, entry: Entry, digest: str) -> Said:
        """Say that the file has the content it had, whatever its ctime."""
        return FileUnchanged, {**self._place(entry.path), "digest": digest, "ctime_ns": entry.ctime_ns}

    def _place(self, path: str) -> dict[str, Value]:
        return {"path": path, "root": os.fspath(self.folder)}
