"""The one door to SQLite: opening safely, one writer, transactions. Knows no table.

WAL with ``synchronous=FULL``: what a transaction wrote is on the disk when it returns. WAL keeps its index in shared
memory of one machine, so network file systems are refused (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from cryoframe.errors import EnvironmentFault, StoreError
from cryoframe.records.state import Cell, Row

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "gpfs", "lustre", "beegfs", "ceph", "afs", "panfs", "fuse"}
)
REBUILD = "Run `cryoframe rebuild` on this folder; products in the store are kept."
Write = Callable[..., None]


class DamagedDatabase(StoreError):
    """The file is not, or not wholly, a database."""


class Database:
    """One SQLite file. Use :meth:`open`."""

    def __init__(self, path: Path, connection: apsw.Connection, *, read_only: bool = False) -> None:
        self.path, self.read_only = path, read_only
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls, path: Path, *, read_only: bool = False, mountinfo: str | None = None, examine: bool = True
    ) -> Database:
        """Open the file, making it if need be.

        Parameters
        ----------
        path
            The file, on a local disk.
        read_only
            For watching a run that another process is in charge of.
        mountinfo
            Text in the form of ``/proc/self/mountinfo`` to judge the file system by; for tests.
        examine
            Go through the whole file for damage first, which takes a second for each 10 000 items. A short look into
            a run that another process has in hand, and has examined, need not: damage it meets is told all the same.

        Raises
        ------
        DamagedDatabase
            If the file is damaged.
        StoreError
            If it lies on a network file system.
        """
        _refuse_network(path, mountinfo)
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            connection = apsw.Connection(os.fspath(path), flags=flags)
            connection.set_busy_timeout(5000)
            _prepare(connection, read_only=read_only)
            check = "PRAGMA quick_check(1)" if examine else "SELECT 'ok' FROM (SELECT count(*) FROM sqlite_master)"
            problems = [row[0] for row in connection.execute(check)]
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise _damaged(path, str(error)) from error
        except apsw.Error as error:
            raise _fault(error, path) from error
        if problems != ["ok"]:
            connection.close()
            raise _damaged(path, str(problems[0]))
        return cls(path, connection, read_only=read_only)

    def read(self, sql: str, values: Sequence[Cell] = ()) -> list[Row]:
        """Return all rows of a query."""
        with self._lock, self._translated():
            return list(self._connection.execute(sql, tuple(values)))

    @contextmanager
    def transaction(self) -> Iterator[Write]:
        """Give a function ``write(sql, values)``; all of it or nothing is on the disk when the block is left."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._write
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def backup(self, target: Path) -> None:
        """Copy a consistent state of the file while it is in use."""
        with self._lock, self._translated():
            copy = apsw.Connection(os.fspath(target))
            with copy.backup("main", self._connection, "main") as step:
                while not step.done:
                    step.step(-1)  # in one go: in pieces, each commit of the writer would make it begin anew
            copy.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _write(self, sql: str, values: Sequence[Cell] | Mapping[str, Cell] = ()) -> None:
        self._connection.execute(sql, values)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:  # a flipped byte in a text
            raise _damaged(self.path, str(error)) from error
        except apsw.SQLError as error:
            if "no such table" not in str(error):
                raise
            raise StoreError(
                f"database {self.path} holds no run ({error})", remedy="The run is being made, or this is another file."
            ) from error
        except (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.CantOpenError, apsw.ReadOnlyError) as error:
            raise _fault(error, self.path) from error


def salvage(damaged: Path, sql: str) -> Iterator[Row]:
    """Yield the rows of a query on a damaged file until the damage stops it."""
    try:
        connection = apsw.Connection(os.fspath(damaged), flags=apsw.SQLITE_OPEN_READWRITE)
        yield from connection.execute(sql)
    except apsw.Error:
        return


def _prepare(connection: apsw.Connection, *, read_only: bool) -> None:
    if not read_only:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchall()[0][0]
        if mode != "wal":
            raise apsw.CantOpenError(f"journal mode is {mode} where WAL was asked for")
        connection.execute("PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864")
    connection.execute("PRAGMA foreign_keys=ON")


def _refuse_network(path: Path, mountinfo: str | None) -> None:
    if mountinfo is None:
        source = Path("/proc/self/mountinfo")
        mountinfo = source.read_text(encoding="utf-8", errors="replace") if source.exists() else ""
    kind, mount = file_system(path.absolute().parent.resolve(), mountinfo)
    if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse."):
        raise StoreError(
            f"{path} lies on {mount}, a network file system ({kind}), where SQLite's WAL loses data",
            expected="a disk of this machine",
            remedy="Give [run] a folder on a local disk; raw data may stay where they are.",
        )


def file_system(folder: Path, mountinfo: str) -> tuple[str, str]:
    """Return type and mount point of the file system that `folder` is on; empty where that cannot be told."""
    best = ("", "")
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        if not dash or len(left.split()) < 5:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split()[4])
        if folder.is_relative_to(mount) and len(mount) >= len(best[1]):
            best = (right.split()[0], mount)
    return best


def _damaged(path: Path, problem: str) -> DamagedDatabase:
    return DamagedDatabase(f"database {path} is damaged ({problem})", expected="a whole SQLite file", remedy=REBUILD)


def _fault(error: apsw.Error, path: Path) -> EnvironmentFault:
    return EnvironmentFault(
        f"database {path} cannot be used now ({error})",
        remedy="See to free space, permissions and the disk; nothing that was acknowledged is lost.",
    )
