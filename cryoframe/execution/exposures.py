"""The table of exposures, made of a run's state alone: one row a file that landed, with all that products say of it.

It is a projection: made anew from the log it is the same, whatever happened to the process that wrote it last. What
the figures mean is not known here (`data.figures` declares them).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from cryoframe.data.figures import Figure, warnings_of
from cryoframe.data.tables import ExposureTable
from cryoframe.records.state import Described, FileRow, Item, State, Task

#: The table in a run's folder, while somebody keeps it current.
TABLE = "exposures.arrow"
#: Kinds of items that are an exposure.
KINDS = ("Movie", "Micrograph")
_T = TypeVar("_T", Described, Task)
Row = dict[str, Figure | None]


class Source(Protocol):
    """What is asked of a run's state, or of the part of it that a few rows need."""

    def items(self, kind: str | None = None) -> list[Item]:
        """Return the items of one kind."""

    def described(self) -> list[Described]:
        """Return what products say of them, in the order of the run."""

    def tasks(self) -> list[Task]:
        """Return their tasks."""

    def remarks(self) -> dict[str, list[str]]:
        """Return remarks, by item."""

    def landed_utc(self) -> dict[str, str]:
        """Return when files were last seen to change, by path."""

    def admitted_utc(self) -> dict[str, str]:
        """Return when items were admitted."""

    def files(self, status: str | None = None) -> list[FileRow]:
        """Return the files of a status."""


def exposures(state: Source) -> ExposureTable:
    """Return one row a movie or micrograph, and one a file that was refused, by path.

    Parameters
    ----------
    state
        Of the run; nothing else is read. :class:`~cryoframe.records.lookups.Some` gives the rows of a few.

    Notes
    -----
    Where several stages of a run say the same of an item, the one that the run came to last speaks: with the motion
    of two implementations it is the later one in the plan.
    """
    described, tasks = _by_item(state.described()), _by_item(state.tasks())
    landed, admitted, remarks = state.landed_utc(), state.admitted_utc(), state.remarks()
    rows = []
    for item in (item for kind in KINDS for item in state.items(kind)):
        row = _row(item, described.get(item.item_id, []), tasks.get(item.item_id, []))
        row["admitted_utc"] = admitted.get(item.item_id)
        row["landed_utc"] = landed.get(item.path, row["admitted_utc"])
        row["warnings"] = "; ".join([*remarks.get(item.item_id, []), *warnings_of(row)])
        rows.append(row)
    rows += [_refused(file, landed) for file in state.files("rejected")]
    shown = [{name: utf8(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows]
    return ExposureTable.from_rows(sorted(shown, key=lambda row: str(row["path"])))


def utf8(text: str) -> str:
    """Return a text as the table has it: bytes of a file's name that are no UTF-8 are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def write(state: State, path: Path) -> ExposureTable:
    """Write the table, replacing the file at once; who reads it sees the old one or the new one, whole."""
    table, part = exposures(state), path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        table.write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return table


def _by_item(entries: Iterable[_T]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for entry in entries:
        found.setdefault(entry.item_id, []).append(entry)
    return found


def _row(item: Item, described: list[Described], tasks: list[Task]) -> Row:
    row: Row = dict(_stated(item))
    for said in described:
        row |= said.figures
        row |= {f"{Path(name).stem}_png": f"{said.path}/{name}" for name in said.pictures}
    given_up = [task for task in tasks if task.status == "given_up"]
    settled = all(task.status in ("done", "given_up") for task in tasks) and bool(tasks)
    row |= {"micrograph_id": item.item_id, "path": item.path}
    row["status"] = "set_aside" if given_up else "done" if settled else "waiting"
    row["reason"] = "; ".join(f"{task.stage_id}: {task.message}" for task in given_up)
    row["finished_utc"] = max((said.time_utc for said in described), default=None) if settled else None
    return row


def _stated(item: Item) -> Mapping[str, Figure]:
    """Return what the file and its side-car state, under the table's names."""
    names = {name: name for name in ("n_frames", "pixel_size_A", "dose_e_A2", "applied_defocus_A")}
    names["tilt_deg"] = "stage_tilt_deg"
    return {names[name]: value for name, value in item.facts.items() if name in names}


def _refused(file: FileRow, landed: Mapping[str, str]) -> Row:
    path = f"{file.root}/{file.path}"
    facts = {"micrograph_id": f"{file.path} (refused)", "path": path, "landed_utc": landed.get(path)}
    return {**facts, "status": "refused", "reason": file.reason, "warnings": ""}
