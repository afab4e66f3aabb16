"""The append-only log of events, durable on return, and the refolding of the state from it. The log is the state.

Appends of several threads that meet share one transaction: while one is being made durable the next gather.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryoframe.errors import Corrupt, EnvironmentFault, StoreError
from cryoframe.records import forms, projection
from cryoframe.records.crash import crash_point
from cryoframe.records.database import Database, Write, salvage
from cryoframe.records.events import Clock, Event, StageProgress, from_json, new
from cryoframe.records.folders import sync
from cryoframe.records.forms import Forms, Written
from cryoframe.records.session_events import EventUnreadable
from cryoframe.records.state import Cell, Row

#: 2 added alarms, holding and watermarks; 3 what products say of their items, times and remarks; 4 writes events by
#: their forms, and when a file was seen and an item admitted beside it; 5 the ctime of files.
VERSION = 5
MAX_GROUP = 2000
_PAGE = 1000
_FORMS = "SELECT seq, content FROM events WHERE seq<0"
_IN_FULL = "SELECT seq, CAST(name AS BLOB), CAST(text AS BLOB) FROM events_in_full"
_UNREADABLE = (Corrupt, ValueError, TypeError, AttributeError, RecursionError)


class _Entry:
    """Events of one caller on their way to the disk."""

    def __init__(self, events: list[Event]) -> None:
        self.rows = [(event, forms.encoded(event), projection.fold(event)) for event in events]
        self.done = threading.Event()
        self.error: Exception | None = None


class Journal:
    """The log in a database; makes its tables where they are missing.

    Raises
    ------
    StoreError
        If the database was written by a newer cryoframe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Entry] = []
        self._gathering = threading.Lock()
        self._writing = threading.Lock()
        self._make_tables()
        #: Whether it is of a version that wrote every event in full, and may only be looked into.
        self._in_full = _is_in_full(database)
        self._forms = self._forms_there()

    def append(self, events: Sequence[Event]) -> None:
        """Keep events: all of them durable on return, or none.

        Raises
        ------
        EnvironmentFault
            If the disk refuses; nothing of these events is kept.
        """
        kept = [event for event in events if not isinstance(event, StageProgress)]
        if not kept:
            return
        entry = _Entry(kept)
        crash_point("journal.enter")
        with self._gathering:
            self._waiting.append(entry)
        while not entry.done.is_set():
            with self._writing:
                if not entry.done.is_set():
                    self._write_group()
        if entry.error is not None:
            raise entry.error

    def replay(self, after: str = "") -> Iterator[Event]:
        """Yield the events in the order they were kept, from the one after event id `after` on.

        Raises
        ------
        StoreError
            If there is no event `after`.
        """
        self._renew()
        at = 0
        if after:
            kept = after if self._in_full else forms.id_cell(after)
            rows = self._database.read("SELECT seq FROM events WHERE event_id=?", [kept])
            if not rows:
                raise StoreError(f"the journal has no event '{after}'", expected="an event id from this run")
            at = int(str(rows[0][0]))
        while True:
            rows = self._database.read(
                f"SELECT {self._columns} FROM events WHERE seq>? ORDER BY seq LIMIT ?", [at, _PAGE]
            )
            for row in rows:
                at = int(str(row[0]))
                yield self._event(row)
            if not rows:
                return

    def last(self, name: str = "") -> Event | None:
        """Return the event kept last, of one class if its name is given."""
        self._renew()
        table, values = "events", list[Cell]([name] if name else [])
        where = "name=?" if name else "1"
        if name and not self._in_full:
            where, values = "seq=(SELECT max(seq) FROM log WHERE name=?)", [name]
        rows = self._database.read(
            f"SELECT {self._columns} FROM {table} WHERE {where} AND seq>0 ORDER BY seq DESC LIMIT 1", values
        )
        return self._event(rows[0]) if rows else None

    def last_id(self) -> str:
        """Return the id of the event kept last, or an empty string."""
        rows = self._database.read("SELECT event_id FROM events WHERE seq>0 ORDER BY seq DESC LIMIT 1")
        return forms.id_text(rows[0][0]) if rows else ""

    def rebuild(self) -> int:
        """Drop the projections and fold the whole log anew, in one transaction; returns the number of events."""
        with self._database.transaction() as write:
            return self._refold(write)

    def _refold(self, write: Write) -> int:
        n_events = 0
        for name in (*projection.NAMES, *projection.FORMER):
            write(f"DROP TABLE IF EXISTS {name}")
        write(projection.TABLES)
        crash_point("journal.rebuild_dropped")
        for event in self.replay():
            n_events += 1
            if (change := projection.fold(event)) is not None:
                write(*change)
        crash_point("journal.rebuild_folded")
        return n_events

    def take_over(self, damaged: Path) -> tuple[int, int]:
        """Append what can still be read of a damaged database's log, and say of each event that cannot.

        Returns how many could be read, and how many could not.
        """
        found, lost = list[Event](), list[_Lost]()
        known = Forms({})
        blob = "seq, event_id, form, cause, CAST(content AS BLOB)"  # a flipped byte may be no UTF-8
        for seq, event_id, form, cause, content in salvage(damaged, f"SELECT {blob} FROM events ORDER BY seq"):
            number = int(str(seq))
            with _noted(lost, number, ""):
                if number < 0:
                    known.learn(number, _text(content))
                else:
                    found.append(known.decoded(event_id, form, cause, _text(content)))
        in_full = "seq, CAST(name AS BLOB), CAST(text AS BLOB)"
        for seq, name, text in salvage(damaged, f"SELECT {in_full} FROM events ORDER BY seq"):
            with _noted(lost, int(str(seq)), name):
                found.append(from_json(_text(name), _text(text)))
        self.append(found)
        for one in lost:
            self.append([_unreadable(self.last(), one, damaged.name)])
        return len(found), len(lost)

    @property
    def _columns(self) -> str:
        return "seq, name, text" if self._in_full else forms.COLUMNS

    def _event(self, row: Row) -> Event:
        if self._in_full:
            return from_json(str(row[1]), str(row[2]))
        if self._database.read_only and not self._forms.knows(row[2]):
            self._forms = self._forms_there()  # the writer has met events of a new form since
        return self._forms.decoded(*row[1:])

    def _forms_there(self) -> Forms:
        written = [] if self._in_full else self._database.read(f"{_FORMS} ORDER BY seq")
        return Forms({int(str(seq)): str(form) for seq, form in written})

    def _renew(self) -> None:
        """Look whether the writer has carried over what is only looked into here."""
        if self._in_full and not _is_in_full(self._database):
            self._in_full, self._forms = False, self._forms_there()

    def _make_tables(self) -> None:
        version = int(str(self._database.read("PRAGMA user_version")[0][0]))
        if version > VERSION:
            raise StoreError(
                f"{self._database.path} has journal version {version}",
                expected=f"{VERSION} or older",
                remedy="Open it with the cryoframe that wrote it, or a newer one.",
            )
        if version == VERSION or (version and self._database.read_only):
            return
        copy = self._database.path.with_suffix(f".v{version}.sqlite")
        if version:
            self._database.backup(copy)
            sync(copy)  # before anything is changed: it is what there is to go back to
            sync(copy.parent)
        with self._database.transaction() as write:
            if version and _is_in_full(self._database):
                self._carry_over(write, copy.name)
            elif version and not _has_column(self._database, "files", "ctime_ns"):
                write("ALTER TABLE files ADD COLUMN ctime_ns INT DEFAULT 0")
            write(forms.TABLE + projection.TABLES)
            write(f"PRAGMA user_version={VERSION}")

    def _carry_over(self, write: Write, copy: str) -> None:
        """Write every event by its form; each keeps its number. One that cannot be read is said and stays in `copy`."""
        write("ALTER TABLE events RENAME TO events_in_full")
        write(forms.TABLE)
        self._in_full, self._forms, at = False, Forms({}), 0
        last: Event | None = None
        lost: list[_Lost] = []
        rows: list[Row] = [()]
        while rows:
            rows = self._database.read(f"{_IN_FULL} WHERE seq>? ORDER BY seq LIMIT ?", [at, _PAGE])
            for seq, name, text in rows:
                at = int(str(seq))
                with _noted(lost, at, name):
                    event = from_json(_text(name), _text(text))
                    self._insert_one(write, event, forms.encoded(event), at)
                    last = event
        write("DROP TABLE events_in_full")
        for one in lost:
            event = _unreadable(last, one, copy)
            self._insert_one(write, event, forms.encoded(event))
            last = event
        self._refold(write)

    def _insert_one(self, write: Write, event: Event, kept: Written, seq: int | None = None) -> None:
        number, event_id, cause, content = self._numbered(write, event, kept)
        write(forms.INSERT, (seq, event_id, number, cause, content))

    def _numbered(self, write: Write, event: Event, kept: Written) -> tuple[int, Cell, Cell, str]:
        """Return an event as it is kept, with its form's number; the form is written if need be."""
        if self._forms.has_room_for(kept[0]):
            form, *rest = kept
        else:
            form, *rest = forms.encoded(event, shares=False)
        number, is_new = self._forms.number(form)
        if is_new:
            write(forms.INSERT_FORM, (number, form))
            self._forms.learned(number, form)
        event_id, cause, content = rest
        return number, event_id, cause, str(content)

    def _write_group(self) -> None:
        group = self._take()
        try:
            self._write_entries(group)
        except EnvironmentFault as error:
            for entry in group:
                entry.error = error
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
            else:  # One caller's events are at fault; the others must not suffer for it.
                for entry in group:
                    self._write_alone(entry)
        except BaseException:  # Ctrl-C: nobody may take what was not written for written
            for entry in group:
                entry.error = EnvironmentFault("the log was interrupted while it was written")
            raise
        finally:
            for entry in group:
                entry.done.set()

    def _take(self) -> list[_Entry]:
        with self._gathering:
            count, size = 0, 0
            while count < len(self._waiting) and size < MAX_GROUP:
                size += len(self._waiting[count].rows)
                count += 1
            group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _write_alone(self, entry: _Entry) -> None:
        try:
            self._write_entries([entry])
        except Exception as error:
            entry.error = error

    def _write_entries(self, group: list[_Entry]) -> None:
        known = self._forms.copy()
        try:
            with self._database.transaction() as write:
                crash_point("journal.begun")
                for entry in group:
                    self._insert(write, entry)
        except BaseException:
            self._forms = known  # what was not committed is not written
            raise
        crash_point("journal.committed")

    def _insert(self, write: Write, entry: _Entry) -> None:
        for event, kept, change in entry.rows:
            self._insert_one(write, event, kept)
            crash_point("journal.inserted")
            if change is not None:
                write(*change)
                crash_point("journal.folded")


def _is_in_full(database: Database) -> bool:
    return _has_column(database, "events", "text")


def _has_column(database: Database, table: str, column: str) -> bool:
    return any(row[1] == column for row in database.read(f"PRAGMA table_info({table})"))


@dataclass(frozen=True)
class _Lost:
    """An event that could not be read."""

    number: int
    named: str
    reason: str


@contextlib.contextmanager
def _noted(lost: list[_Lost], number: int, named: Cell) -> Iterator[None]:
    """Note an event that cannot be read: it takes none of those after it along."""
    try:
        yield
    except _UNREADABLE as error:
        name = named.decode("utf-8", "replace") if isinstance(named, bytes) else str(named or "")
        lost.append(_Lost(number, name[:100], str(error)[:500]))


def _text(kept: Cell) -> str:
    return kept.decode() if isinstance(kept, bytes) else str(kept)


def _unreadable(last: Event | None, lost: _Lost, kept_in: str) -> Event:
    """Return the event that says so, to come after the `last` of the log."""
    event_id, run_id = Clock(after=last.event_id if last else "").next_id(), last.run_id if last else ""
    return new(EventUnreadable, run_id, event_id=event_id, **vars(lost), kept_in=kept_in)
