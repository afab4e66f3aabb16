"""The table of exposures kept from one time to the next: rows of what the log spoke of are made anew, all others stay.

What a row says is in `exposures`. The file names the event up to which it holds, so that another process can go on from
it; it is replaced whole and durable, or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.data import exposure_columns, figures, ids
from cryoframe.data.tables import ExposureTable
from cryoframe.errors import CryoframeError, StoreError
from cryoframe.execution import exposures as rows_of
from cryoframe.execution.exposures import Row, exposures, utf8
from cryoframe.records import folders
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.lookups import Some, Spoken, ids_by_pages, refused_by_pages, spoken_since
from cryoframe.records.state import State

if TYPE_CHECKING:
    import pyarrow as pa

_ESCAPE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
#: The first version of the journal that can be asked about a few items; an older one is looked into as a whole.
BY_KEY = 4
UP_TO, MADE_BY = b"cryoframe.up_to", b"cryoframe.made_by"


def whole(database: Database) -> ExposureTable:
    """Return the table of a run as ``exposures.exposures`` does, made by parts: memory for a part's rows is enough."""
    from pyarrow import concat_tables

    if int(str(database.read("PRAGMA user_version")[0][0])) < BY_KEY:
        return exposures(State(database))
    parts = [ExposureTable.from_rows([]).arrow]
    parts += [exposures(Some(database, items, ())).arrow for items in ids_by_pages(database)]
    parts += [exposures(Some(database, (), places)).arrow for places in refused_by_pages(database)]
    return ExposureTable(concat_tables(parts).sort_by([("path", "ascending")]))


def made_by() -> bytes:
    """Return what a row is made by: the text of the modules that say what is in it, as a digest."""
    sources = (figures, exposure_columns, rows_of)
    return ids.digest_bytes(b"".join(Path(str(one.__file__)).read_bytes() for one in sources)).encode()


class Kept:
    """The table of a run.

    Parameters
    ----------
    path
        Its file; what is there is gone on from, if it was made as it would be made now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.table = ExposureTable.from_rows([])
        self._up_to = ""
        #: Whether the file is behind the table.
        self.is_due = True
        if path.is_file():
            self._take_up()

    def update(self, database: Database) -> bool:
        """Bring the table up to the log's last event; returns whether a row changed."""
        journal = Journal(database)
        try:
            spoken = spoken_since(journal, self._up_to) if self._up_to else None
        except StoreError:
            spoken = None  # it is of another log
        if spoken is None:
            self._up_to = journal.last_id()  # before the rest: what comes meanwhile is made once more
            self.table, self.is_due = whole(database), True
            return True
        changed = bool(spoken.items or spoken.places) and self._renew(database, spoken)
        self._up_to, self.is_due = spoken.last_id, self.is_due or changed
        return changed

    def latest(self, most: int) -> list[Row]:
        """Return the rows that landed last, the latest first."""
        from pyarrow import compute

        if most >= len(self.table):
            rows = self.table.rows()
        else:
            keys = [("landed_utc", "descending"), ("path", "descending")]
            rows = self.table.arrow.take(compute.select_k_unstable(self.table.arrow, most, keys)).to_pylist()
        return sorted(rows, key=lambda row: (str(row.get("landed_utc") or ""), str(row["path"])), reverse=True)

    def write(self) -> int:
        """Put the file there, rows by path; returns its size in bytes."""
        import pyarrow as pa

        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self.table = ExposureTable(self.table.arrow.sort_by([("path", "ascending")]).combine_chunks())
        said = {**(self.table.arrow.schema.metadata or {}), UP_TO: self._up_to.encode(), MADE_BY: made_by()}
        schema = self.table.arrow.schema.with_metadata(said)
        try:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
                writer.write_table(self.table.arrow.replace_schema_metadata(said))
            folders.sync(part)
            size = part.stat().st_size
            part.replace(self._path)
            folders.sync(self._path.parent)
        finally:
            part.unlink(missing_ok=True)
        self.is_due = False
        return size

    def _take_up(self) -> None:
        try:
            found = ExposureTable.read(self._path)
        except (CryoframeError, OSError):
            return  # another version's, or damaged: it is made anew
        said = dict(found.arrow.schema.metadata or {})
        up_to, by = said.pop(UP_TO, b""), said.pop(MADE_BY, b"")
        if up_to and by == made_by():
            self._up_to, self.is_due = up_to.decode(errors="replace"), False
            self.table = ExposureTable(found.arrow.replace_schema_metadata(said))

    def _renew(self, database: Database, spoken: Spoken) -> bool:
        from pyarrow import array, compute, concat_tables, string

        arrow = self.table.arrow
        paths = array(sorted({utf8(f"{root}/{path}") for root, path in spoken.places}), string())
        at_places = compute.is_in(arrow["path"], value_set=paths)
        refused = compute.equal(arrow["status"], "refused")
        again = compute.and_(at_places, compute.invert(refused))  # a file that was seen again: its item landed later
        theirs = set(arrow["micrograph_id"].filter(again).to_pylist())
        named = sorted(theirs | {utf8(item) for item in spoken.items})
        made = exposures(Some(database, spoken.items | _as_in_log(theirs), spoken.places)).arrow
        gone = compute.or_(
            compute.and_(at_places, refused), compute.is_in(arrow["micrograph_id"], value_set=array(named, string()))
        )
        if not len(made) and not compute.any(gone).as_py():
            return False
        kept: pa.Table = arrow.filter(compute.invert(gone))
        self.table = ExposureTable(concat_tables([kept, made]))
        return True


def _as_in_log(shown: Iterable[str]) -> set[str]:
    """Return names of the table as the log has them."""
    return {_ESCAPE.sub(lambda found: chr(int(found[1], 16)), name) for name in shown}
