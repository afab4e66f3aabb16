"""The database is on this machine, whole, and written by one process at a time."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cryoframe.errors import EnvironmentFault, StoreError
from cryoframe.records.database import Database, Write, file_system
from cryoframe.records.state import State

MOUNTS = """\
22 1 253:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:50 / /mnt/share rw shared:1 - {kind} server:/export rw
41 22 0:51 / /mnt/with\\040space rw - {kind} server:/other rw
42 40 0:52 / /mnt/share/local rw - xfs /dev/vdb rw
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "gpfs", "lustre", "fuse.sshfs", "fuse.bindfs"])
def test_a_network_file_system__is_refused_with_the_remedy(kind: str) -> None:
    with pytest.raises(StoreError, match=rf"\({kind}\).*\[run\] a folder on a local disk"):
        Database.open(Path("/mnt/share/run/state.sqlite"), mountinfo=MOUNTS.format(kind=kind))


def test_the_innermost_mount__decides() -> None:
    mounts = MOUNTS.format(kind="nfs")
    assert file_system(Path("/mnt/share/local/run"), mounts) == ("xfs", "/mnt/share/local")
    assert file_system(Path("/mnt/with space/run"), mounts) == ("nfs", "/mnt/with space")
    assert file_system(Path("/mnt/shared"), mounts) == ("ext4", "/")
    assert file_system(Path("/"), "garbage\n- - -\n") == ("", "")


def test_opening__sets_the_modes_that_promise_durability(path: Path) -> None:
    database = Database.open(path)
    assert database.read("PRAGMA journal_mode") == [("wal",)]
    assert database.read("PRAGMA synchronous") == [(2,)]
    assert database.read("PRAGMA foreign_keys") == [(1,)]
    assert database.read("PRAGMA busy_timeout") == [(5000,)]


def test_a_failed_transaction__leaves_nothing(path: Path) -> None:
    database = Database.open(path)
    with database.transaction() as write:
        write("CREATE TABLE t(a)")
    with pytest.raises(EnvironmentFault, match="while writing"), database.transaction() as write:
        _write_and_fail(write)
    assert database.read("SELECT * FROM t") == []


def _write_and_fail(write: Write) -> None:
    write("INSERT INTO t VALUES(1)")
    raise EnvironmentFault("while writing")


def fill(path: Path) -> None:
    database = Database.open(path)
    with database.transaction() as write:
        write("CREATE TABLE t(a, b)")
        for number in range(2000):
            write("INSERT INTO t VALUES(?, ?)", (number, "x" * 100))
    database.close()


@pytest.mark.parametrize("page", [1, 5, 20])
def test_a_damaged_page__is_refused_naming_the_remedy(path: Path, page: int) -> None:
    fill(path)
    content = bytearray(path.read_bytes())
    assert len(content) > 25 * 4096
    content[page * 4096 : page * 4096 + 512] = b"\xa5" * 512
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cryoframe rebuild"):
        Database.open(path)


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database__is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*rebuild"):
        Database.open(path)


def test_a_database_cut_in_half__is_refused(path: Path) -> None:
    fill(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="damaged"):
        Database.open(path)


def test_a_folder_that_does_not_exist__is_an_environment_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="cannot be used now"):
        Database.open(tmp_path / "absent" / "state.sqlite")


def test_a_reader_in_another_process__sees_what_was_committed_and_cannot_write(path: Path) -> None:
    fill(path)
    writer = Database.open(path)
    with writer.transaction() as write:
        write("INSERT INTO t VALUES(-1, 'late')")
    code = (
        "import sys; from pathlib import Path; from cryoframe.records.database import Database\n"
        "from cryoframe.errors import EnvironmentFault\n"
        "d = Database.open(Path(sys.argv[1]), read_only=True)\n"
        "print(d.read('SELECT b FROM t WHERE a=-1'))\n"
        "try:\n    with d.transaction() as w: w('DELETE FROM t')\nexcept EnvironmentFault: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[('late',)]", "refused"]


def test_two_threads__write_in_turn(path: Path) -> None:
    database = Database.open(path)
    with database.transaction() as write:
        write("CREATE TABLE t(a)")

    def add() -> None:
        for _ in range(100):
            with database.transaction() as write:
                (count,) = database.read("SELECT count(*) FROM t")[0]
                write("INSERT INTO t VALUES(?)", (count,))

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.read("SELECT a FROM t ORDER BY a") == [(number,) for number in range(200)]


def test_a_backup_taken_in_use__is_whole(path: Path, tmp_path: Path) -> None:
    fill(path)
    database = Database.open(path)
    database.backup(tmp_path / "copy.sqlite")
    with sqlite3.connect(tmp_path / "copy.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (2000,)
    copy.close()


def test_disk_full__is_an_environment_fault_and_the_database_stays_whole(path: Path) -> None:
    code = (
        "import sys, resource, signal; from pathlib import Path\n"
        "from cryoframe.records.database import Database; from cryoframe.errors import EnvironmentFault\n"
        "d = Database.open(Path(sys.argv[1]))\n"
        "with d.transaction() as w: w('CREATE TABLE t(a)')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "n = 0\n"
        "try:\n"
        "    for n in range(1000):\n"
        "        with d.transaction() as w: w('INSERT INTO t VALUES(?)', ('x' * 2000,))\n"
        "except EnvironmentFault as e: print(n, str(e))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "with d.transaction() as w: w('INSERT INTO t VALUES(?)', ('after',))\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    n_acknowledged = int(done.stdout.split()[0])
    assert 0 < n_acknowledged < 1000
    assert "nothing that was acknowledged is lost" in done.stdout
    database = Database.open(path)
    assert database.read("SELECT count(*) FROM t") == [(n_acknowledged + 1,)]
    assert database.read("PRAGMA integrity_check") == [("ok",)]


def test_a_database_without_tables__says_that_it_holds_no_run(path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        State(Database.open(path)).task_counts()
