"""Questions to what the journal amounts to: files, items, tasks, products. The tables are in `projection`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

from cryoframe.records.events import Scalar

Cell = str | int | float | bytes | None
Row = tuple[Cell, ...]

_ITEMS = "SELECT item_id, kind, digest, path, facts FROM items"
_FILE_COLUMNS, _PAGE = "path, root, size, mtime_ns, digest, status, reason", 2000
#: What older versions do not have; a read-only database stays as it is.
_SINCE_5 = ", ctime_ns"


class Reader(Protocol):
    """What the state asks its questions of."""

    def read(self, sql: str, values: Sequence[Cell] = ()) -> list[Row]:
        """Return all rows of a query."""


@dataclass(frozen=True)
class Item:
    """A unit of work: one movie, micrograph, stack or map that entered the run."""

    item_id: str
    kind: str
    digest: str
    path: str
    facts: Mapping[str, Scalar]


@dataclass(frozen=True)
class Task:
    """A stage for an item; `status` is queued, running, done, failed (will be retried) or given_up."""

    stage_id: str
    item_id: str
    key: str
    status: str
    attempts: int
    error_class: str
    message: str
    digest: str


class TaskState(NamedTuple):
    """How far a task is: what a process that takes charge has to know of each."""

    stage_id: str
    item_id: str
    key: str
    status: str
    attempts: int
    error_class: str
    digest: str


@dataclass(frozen=True)
class FileRow:
    """A file under a root; `status` is seen, settled, rejected, ignored, duplicate or superseded.

    A `ctime_ns` of 0 is not known: the file was last heard of by a version that did not keep it.
    """

    path: str
    root: str
    size: int
    mtime_ns: int
    digest: str
    status: str
    reason: str
    ctime_ns: int = 0


@dataclass(frozen=True)
class Standing:
    """An alarm that was raised and is not over; `since` is UTC."""

    kind: str
    subject: str
    message: str
    since: str


@dataclass(frozen=True)
class Watermark:
    """Every file that was below `root` at `up_to_utc` has a state; `generation` numbers the rescan that found so."""

    root: str
    generation: int
    n_files: int
    up_to_utc: str


@dataclass(frozen=True)
class Described:
    """What a stage's product says of an item: figures, and pictures (name to digest) in the folder `path`."""

    stage_id: str
    item_id: str
    key: str
    kind: str
    path: str
    figures: Mapping[str, Scalar]
    pictures: Mapping[str, Scalar]
    time_utc: str


class State:
    """Questions to the projection; every answer is ordered, so that order of arrival does not matter."""

    def __init__(self, database: Reader) -> None:
        self._database = database
        self._columns_of_files = ""

    def items(self, kind: str | None = None) -> list[Item]:
        """Return the items, or those of one kind, by item id."""
        sql = f"{_ITEMS} {'WHERE kind=?' if kind else ''} ORDER BY item_id"
        return [_item(row) for row in self._database.read(sql, [kind] if kind else [])]

    def item(self, item_id: str) -> Item | None:
        """Return one item."""
        rows = self._database.read(f"{_ITEMS} WHERE item_id=?", [cell(item_id)])
        return _item(rows[0]) if rows else None

    def item_by_digest(self, digest: str) -> Item | None:
        """Return the item of that content."""
        rows = self._database.read(f"{_ITEMS} WHERE digest=? ORDER BY item_id LIMIT 1", [digest])
        return _item(rows[0]) if rows else None

    def task(self, stage_id: str, item_id: str) -> Task | None:
        """Return one task."""
        found = self._tasks("WHERE stage_id=? AND item_id=?", [cell(stage_id), cell(item_id)])
        return found[0] if found else None

    def tasks(self, stage_id: str | None = None, status: str | None = None) -> list[Task]:
        """Return the tasks of a stage, of a status, of both or all, by stage and item id."""
        asked = {"stage_id": stage_id, "status": status}
        chosen = {name: cell(value) for name, value in asked.items() if value is not None}
        where = "WHERE " + " AND ".join(f"{name}=?" for name in chosen) if chosen else ""
        return self._tasks(where, list(chosen.values()))

    def task_states(self) -> Iterator[TaskState]:
        """Yield how far each task is, by stage and item id; there may be very many."""
        columns = "stage_id, item_id, key, status, attempts, error_class, digest"
        made = cast(Callable[..., TaskState], TaskState)
        yield from (made(*map(_plain, row)) for row in self._paged("tasks", ("stage_id", "item_id"), columns))

    def item_kinds(self) -> Iterator[tuple[str, str]]:
        """Yield id and kind of each item, by item id."""
        yield from ((text(row[0]), text(row[1])) for row in self._paged("items", ("item_id",), "item_id, kind"))

    def each_file(self, root: str) -> Iterator[FileRow]:
        """Yield the files of a root, by path."""
        made = cast(Callable[..., FileRow], FileRow)
        for row in self._paged("files", ("root", "path"), f"root, path, {self._file_columns}", (cell(root), "")):
            if text(row[0]) != root:
                return
            yield made(*map(_plain, row[2:]))

    def interrupted(self) -> list[Task]:
        """Return the tasks that an earlier process left running."""
        return self._tasks("WHERE status='running' AND incarnation < (SELECT max(number) FROM incarnations)", [])

    def product(self, key: str) -> tuple[str, str, str] | None:
        """Return `(kind, digest, path)` of a product."""
        rows = self._database.read("SELECT kind, digest, path FROM products WHERE key=?", [key])
        return (text(rows[0][0]), text(rows[0][1]), text(rows[0][2])) if rows else None

    def metrics(self, stage_id: str, item_id: str) -> dict[str, tuple[float, str]]:
        """Return the numbers a stage reported of an item, with their units."""
        rows = self._database.read(
            "SELECT name, value, unit FROM metrics WHERE stage_id=? AND item_id=?", [cell(stage_id), cell(item_id)]
        )
        return {text(name): (_number(value), text(unit)) for name, value, unit in rows}

    def files(self, status: str | None = None) -> list[FileRow]:
        """Return the files, or those of one status, by path and root."""
        where, values = ("WHERE status=?", [status]) if status else ("", [])
        return self._files(where, values)

    def file(self, root: str, path: str) -> FileRow | None:
        """Return one file."""
        rows = self._files("WHERE root=? AND path=?", [cell(root), cell(path)])
        return rows[0] if rows else None

    def file_counts(self, root: str | None = None) -> dict[str, int]:
        """Return how many files, of all roots or of one, have each status."""
        where, values = ("WHERE root=?", [cell(root)]) if root is not None else ("", [])
        return self._counts(f"SELECT status, count(*) FROM files {where} GROUP BY status ORDER BY status", values)

    def task_counts(self) -> dict[str, dict[str, int]]:
        """Return, stage by stage, how many tasks have each status."""
        rows = self._database.read("SELECT stage_id, status, count(*) FROM tasks GROUP BY 1, 2 ORDER BY 1, 2")
        counts: dict[str, dict[str, int]] = {}
        for stage_id, status, count in rows:
            counts.setdefault(text(stage_id), {})[text(status)] = int(_number(count))
        return counts

    def alarms(self) -> list[Standing]:
        """Return the alarms that stand, by kind and subject."""
        rows = self._later("SELECT kind, subject, message, since FROM alarms ORDER BY kind, subject", "alarms")
        return [cast(Callable[..., Standing], Standing)(*map(_plain, row)) for row in rows]

    def described(self) -> list[Described]:
        """Return what products say of their items, in the order in which the run came to them first."""
        columns = "stage_id, item_id, key, kind, path, figures, pictures, time_utc"
        rows = self._later(f"SELECT {columns} FROM described ORDER BY number", "described")
        made = cast(Callable[..., Described], Described)
        plain = ([_plain(value) for value in row] for row in rows)
        return [made(*row[:5], json.loads(str(row[5])), json.loads(str(row[6])), row[7]) for row in plain]

    def remarks(self) -> dict[str, list[str]]:
        """Return what people should know of items, by item."""
        found: dict[str, list[str]] = {}
        for item_id, remark in self._later("SELECT item_id, remark FROM remarks ORDER BY 1, 2", "remarks"):
            found.setdefault(text(item_id), []).append(text(remark))
        return found

    def landed_utc(self) -> dict[str, str]:
        """Return, by absolute path, when a watched file was last seen to change."""
        if self._has("landings"):
            rows = self._database.read("SELECT place, seen_utc FROM landings")
            return {text(place): text(seen_utc) for place, seen_utc in rows}
        if not self._has("seen_utc"):
            return {}
        rows = self._database.read("SELECT root, path, seen_utc FROM files WHERE seen_utc IS NOT NULL")
        return {f"{text(root)}/{text(path)}": text(seen_utc) for root, path, seen_utc in rows}

    def admitted_utc(self) -> dict[str, str]:
        """Return, by item, when its content was admitted."""
        if self._has("admissions"):
            rows = self._database.read("SELECT item_id, time_utc FROM admissions")
        else:
            rows = self._database.read("SELECT item_id, admitted_utc FROM items") if self._has("admitted_utc") else []
        return {text(item_id): text(time_utc) for item_id, time_utc in rows}

    def held(self) -> str:
        """Return who paused the run and when, or an empty string."""
        rows = self._later("SELECT who, since FROM held", "held")
        return f"paused by {text(rows[0][0])} at {text(rows[0][1])}" if rows else ""

    def watermarks(self) -> list[Watermark]:
        """Return up to when each watched root is accounted for, by root."""
        rows = self._later("SELECT root, generation, n_files, up_to_utc FROM watermarks ORDER BY root", "watermarks")
        return [cast(Callable[..., Watermark], Watermark)(*map(_plain, row)) for row in rows]

    def _later(self, sql: str, table: str) -> list[Row]:
        """Read a table that runs of an older version lack."""
        return self._database.read(sql) if self._has(table) else []

    def _has(self, name: str) -> bool:
        """Whether there is a table of that name, or a column of files or items."""
        asked = (
            "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?1 UNION ALL "
            "SELECT 1 FROM pragma_table_info('files') WHERE name=?1 UNION ALL "
            "SELECT 1 FROM pragma_table_info('items') WHERE name=?1"
        )
        return bool(self._database.read(asked, [name]))

    @property
    def _file_columns(self) -> str:
        """Return the columns of a file that there are; the writer may yet add those of a later version."""
        if self._columns_of_files:
            return self._columns_of_files
        if not self._has("ctime_ns"):
            return _FILE_COLUMNS
        self._columns_of_files = _FILE_COLUMNS + _SINCE_5
        return self._columns_of_files

    def _tasks(self, where: str, values: Sequence[Cell]) -> list[Task]:
        columns = "stage_id, item_id, key, status, attempts, error_class, message, digest"
        rows = self._database.read(f"SELECT {columns} FROM tasks {where} ORDER BY stage_id, item_id", values)
        return [cast(Callable[..., Task], Task)(*map(_plain, row)) for row in rows]

    def _paged(self, table: str, keys: tuple[str, ...], columns: str, after: Sequence[Cell] = ()) -> Iterator[Row]:
        """Yield the rows of a table, some at a time, by its key from `after` on; the key's columns come first."""
        listed, beyond = ", ".join(keys), f"WHERE ({', '.join(keys)}) > ({', '.join('?' * len(keys))})"
        while True:
            sql = f"SELECT {columns} FROM {table} {beyond if after else ''} ORDER BY {listed} LIMIT {_PAGE}"
            rows = self._database.read(sql, after)
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][: len(keys)]

    def _files(self, where: str, values: Sequence[Cell]) -> list[FileRow]:
        rows = self._database.read(f"SELECT {self._file_columns} FROM files {where} ORDER BY path, root", values)
        return [cast(Callable[..., FileRow], FileRow)(*map(_plain, row)) for row in rows]

    def _counts(self, sql: str, values: Sequence[Cell]) -> dict[str, int]:
        return {text(name): int(_number(count)) for name, count in self._database.read(sql, values)}


def cell(value: object) -> Cell:
    """Return a value as SQLite keeps it; a file name that is not UTF-8 is kept as its bytes."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape")
        return value
    if isinstance(value, (int, float)) or value is None:
        return value
    return json.dumps(value)


def text(value: Cell) -> str:
    """Return a kept text."""
    return str(_plain(value))


def _plain(value: Cell) -> Cell:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _number(value: Cell) -> float:
    return value if isinstance(value, (int, float)) else float("nan")


def _item(row: Row) -> Item:
    item_id, kind, digest, path, facts = map(text, row)
    return Item(item_id, kind, digest, path, json.loads(facts))
