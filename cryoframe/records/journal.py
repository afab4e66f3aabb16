"""The append-only log of events, durable on return, and the refolding of the state from it. The log is the state.

Appends of several threads that meet share one transaction: while one is being made durable the next gather.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryoframe.errors import Corrupt, EnvironmentFault, StoreError
from cryoframe.records import state
from cryoframe.records.crash import crash_point
from cryoframe.records.database import Database, Write, salvage
from cryoframe.records.events import Event, StageProgress, from_json, to_json

#: 2 added alarms, holding and watermarks; 3 what products say of their items, times and remarks.
VERSION = 3
MAX_GROUP = 2000
_PAGE = 1000


class _Entry:
    """Events of one caller on their way to the disk."""

    def __init__(self, events: list[Event]) -> None:
        self.rows = [(event.event_id, type(event).__name__, to_json(event), state.fold(event)) for event in events]
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
        at = 0
        if after:
            rows = self._database.read("SELECT seq FROM events WHERE event_id=?", [after])
            if not rows:
                raise StoreError(f"the journal has no event '{after}'", expected="an event id from this run")
            at = int(str(rows[0][0]))
        while True:
            rows = self._database.read(
                "SELECT seq, name, text FROM events WHERE seq>? ORDER BY seq LIMIT ?", [at, _PAGE]
            )
            for seq, name, text in rows:
                at = int(str(seq))
                yield from_json(str(name), str(text))
            if not rows:
                return

    def last(self, name: str = "") -> Event | None:
        """Return the event kept last, of one class if its name is given."""
        where, values = ("WHERE name=?", [name]) if name else ("", [])
        rows = self._database.read(f"SELECT name, text FROM events {where} ORDER BY seq DESC LIMIT 1", values)
        return from_json(str(rows[0][0]), str(rows[0][1])) if rows else None

    def last_id(self) -> str:
        """Return the id of the event kept last, or an empty string."""
        rows = self._database.read("SELECT event_id FROM events ORDER BY seq DESC LIMIT 1")
        return str(rows[0][0]) if rows else ""

    def rebuild(self) -> int:
        """Drop the projections and fold the whole log anew, in one transaction; returns the number of events."""
        n_events = 0
        with self._database.transaction() as write:
            for name in state.NAMES:
                write(f"DROP TABLE IF EXISTS {name}")
            write(state.TABLES)
            crash_point("journal.rebuild_dropped")
            for event in self.replay():
                n_events += 1
                if (change := state.fold(event)) is not None:
                    write(*change)
            crash_point("journal.rebuild_folded")
        return n_events

    def take_over(self, damaged: Path) -> int:
        """Append what can still be read of a damaged database's log; returns the number of events."""
        events: list[Event] = []
        with contextlib.suppress(Corrupt):
            for name, text in salvage(damaged, "SELECT name, text FROM events ORDER BY seq"):
                events.append(from_json(str(name), str(text)))
        self.append(events)
        return len(events)

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
        if version:
            self._database.backup(self._database.path.with_suffix(f".v{version}.sqlite"))
        with self._database.transaction() as write:
            write(
                "CREATE TABLE IF NOT EXISTS events("
                "seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE, name TEXT, text TEXT)"
            )
            write(state.TABLES)
            write(f"PRAGMA user_version={VERSION}")

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
        with self._database.transaction() as write:
            crash_point("journal.begun")
            for entry in group:
                _insert(write, entry)
        crash_point("journal.committed")


def _insert(write: Write, entry: _Entry) -> None:
    for event_id, name, text, change in entry.rows:
        write("INSERT INTO events(event_id, name, text) VALUES(?, ?, ?)", (event_id, name, text))
        crash_point("journal.inserted")
        if change is not None:
            write(*change)
            crash_point("journal.folded")
