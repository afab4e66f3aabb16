"""Questions about a few items and files among very many, answered by keys alone; and of which the log spoke lately.

:class:`Some` answers as :class:`~cryoframe.records.state.State` does, of the named items and files only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from cryoframe.records import events
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.state import Cell, Described, FileRow, Item, Row, Task, cell, text

_AT_ONCE = 400
Place = tuple[str, str]


@dataclass
class Spoken:
    """Of what the log has spoken since an event: items by id, files by root and path; `last_id` is its last event."""

    last_id: str
    items: set[str] = field(default_factory=set)
    places: set[Place] = field(default_factory=set)
    n_events: int = 0


def spoken_since(journal: Journal, event_id: str) -> Spoken:
    """Return what the events after one are about.

    Raises
    ------
    StoreError
        If the log has no such event.
    """
    found = Spoken(event_id)
    for event in journal.replay(event_id):
        found.last_id = event.event_id
        found.n_events += 1
        if isinstance(event, events.MetricReported):
            continue
        if isinstance(event, events.FileEvent):
            found.places.add((event.root, event.path))
        elif item_id := getattr(event, "item_id", ""):
            found.items.add(item_id)
    return found


def parts_of_key(database: Database, table: str, column: str) -> list[str]:
    """Return the values of the first column of a table's key, of which there are few among very many rows."""
    found: list[str] = []
    rows = database.read(f"SELECT min({column}) FROM {table}")
    while rows and rows[0][0] is not None:
        found.append(text(rows[0][0]))
        rows = database.read(f"SELECT min({column}) FROM {table} WHERE {column}>?", [rows[0][0]])
    return found


def ids_by_pages(database: Database, n_most: int = 2000) -> Iterator[list[str]]:
    """Yield the ids of all items, so many at a time."""
    rows = database.read("SELECT item_id FROM items ORDER BY item_id LIMIT ?", [n_most])
    while rows:
        yield [text(row[0]) for row in rows]
        rows = database.read(
            "SELECT item_id FROM items WHERE item_id>? ORDER BY item_id LIMIT ?", [rows[-1][0], n_most]
        )


def refused_by_pages(database: Database, n_most: int = 2000) -> Iterator[list[Place]]:
    """Yield the places of all files that were refused, so many at a time."""
    rows = database.read("SELECT root, path FROM files WHERE status='rejected' ORDER BY root, path")
    for first in range(0, len(rows), n_most):
        yield [(text(root), text(path)) for root, path in rows[first : first + n_most]]


class Some:
    """What a run's state says of some items and files.

    Parameters
    ----------
    database
        Of the run.
    items
        Ids of the items.
    places
        Roots and paths of files that may have been refused.
    """

    def __init__(self, database: Database, items: Iterable[str], places: Iterable[Place]) -> None:
        self._database = database
        self._ids, self._places = sorted(items), sorted(places)
        self._roots = parts_of_key(database, "files", "root")

    def items(self, kind: str | None = None) -> list[Item]:
        """Return the items, or those of one kind, by item id."""
        sql = "SELECT item_id, kind, digest, path, facts FROM items WHERE item_id IN"
        rows = (tuple(map(text, row)) for row in self._asked(sql, self._ids))
        found = [Item(item_id, of, digest, path, json.loads(facts)) for item_id, of, digest, path, facts in rows]
        return sorted((item for item in found if kind in (None, item.kind)), key=lambda item: item.item_id)

    def described(self) -> list[Described]:
        """Return what products say of them, in the order in which the run came to them first."""
        columns = "number, stage_id, item_id, key, kind, path, time_utc, figures, pictures"
        found = self._by_stage("described", f"SELECT {columns} FROM described WHERE stage_id=? AND item_id IN")
        rows = [tuple(map(text, row[1:])) for row in sorted(found, key=lambda row: int(str(row[0])))]
        made = cast(Callable[..., Described], Described)
        return [made(*row[:5], json.loads(row[6]), json.loads(row[7]), row[5]) for row in rows]

    def tasks(self) -> list[Task]:
        """Return their tasks, by stage and item id."""
        columns = "stage_id, item_id, key, status, attempts, error_class, message, digest"
        rows = self._by_stage("tasks", f"SELECT {columns} FROM tasks WHERE stage_id=? AND item_id IN")
        made = cast(Callable[..., Task], Task)
        found = [made(*map(text, row[:4]), int(str(row[4])), *map(text, row[5:])) for row in rows]
        return sorted(found, key=lambda task: (task.stage_id, task.item_id))

    def remarks(self) -> dict[str, list[str]]:
        """Return what people should know of them, by item."""
        found: dict[str, list[str]] = {}
        rows = self._asked("SELECT item_id, remark FROM remarks WHERE item_id IN", self._ids)
        for item_id, remark in sorted((text(item_id), text(remark)) for item_id, remark in rows):
            found.setdefault(item_id, []).append(remark)
        return found

    def admitted_utc(self) -> dict[str, str]:
        """Return, by item, when its content was admitted."""
        rows = self._asked("SELECT item_id, admitted_utc FROM items WHERE item_id IN", self._ids)
        return {text(item_id): text(time_utc) for item_id, time_utc in rows}

    def landed_utc(self) -> dict[str, str]:
        """Return, by absolute path, when their files were last seen to change."""
        of_items = [root_and_path for item in self.items() for root_and_path in self._split(item.path)]
        sql = "SELECT root, path, seen_utc FROM files WHERE seen_utc IS NOT NULL AND root=? AND path IN"
        rows = self._by_root(sql, {*of_items, *self._places})
        return {f"{text(root)}/{text(path)}": text(seen_utc) for root, path, seen_utc in rows}

    def files(self, status: str | None = None) -> list[FileRow]:
        """Return the files, or those of one status, by path and root."""
        columns = "path, root, size, mtime_ns, digest, status, reason"
        rows = self._by_root(f"SELECT {columns} FROM files WHERE root=? AND path IN", set(self._places))
        made = cast(Callable[..., FileRow], FileRow)
        found = [made(*map(text, row[:2]), row[2], row[3], *map(text, row[4:])) for row in rows]
        return sorted(
            (file for file in found if status in (None, file.status)), key=lambda file: (file.path, file.root)
        )

    def _split(self, path: str) -> Iterator[Place]:
        for root in self._roots:
            if path.startswith(root + os.sep):
                yield root, path[len(root) + 1 :]

    def _by_stage(self, table: str, sql: str) -> list[Row]:
        stages = parts_of_key(self._database, table, "stage_id")
        return [row for stage in stages for row in self._asked(sql, self._ids, [cell(stage)])]

    def _by_root(self, sql: str, places: set[Place]) -> list[Row]:
        found: list[Row] = []
        for root in self._roots:
            paths = sorted(path for named, path in places if named == root)
            found += self._asked(sql, paths, [cell(root)])
        return found

    def _asked(self, sql: str, names: Sequence[str], before: Sequence[Cell] = ()) -> list[Row]:
        """Ask ``sql`` of each name, some hundreds at a time."""
        found: list[Row] = []
        for first in range(0, len(names), _AT_ONCE):
            some = [cell(name) for name in names[first : first + _AT_ONCE]]
            found += self._database.read(f"{sql} ({', '.join('?' * len(some))})", [*before, *some])
        return found
