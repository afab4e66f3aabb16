"""The run folder's disk fills, becomes read-only, is used from another host; the order of its system calls."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from watched_session import DRIVER, Watched, admitted, drive, finished, wait_for

from cryoframe.errors import CryoframeError
from cryoframe.execution.run import Run
from cryoframe.records.database import Database
from cryoframe.records.state import State
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="this needs root")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def _elsewhere(watched: Watched, folder: Path) -> None:
    config = watched.folder / "run.toml"
    config.write_text(config.read_text().replace('folder = "run"', f'folder = "{folder}"'))


@needs_root
def test_a_disk_of_eight_megabytes_filled_again_and_again__loses_nothing_and_goes_on(
    watched: Watched, figure: Callable[[str, object], None]
) -> None:
    disk = watched.folder / "disk"
    disk.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"mounting is not allowed here: {tried.stderr.decode().strip()}")
    resumed_s = []
    try:
        _elsewhere(watched, disk / "run")
        process = drive(watched, "4.0")
        database_path = disk / "run" / "state.sqlite"

        for turn in range(4):
            filler = disk / "filler"
            if turn:
                _fill(filler)
            for number in range(3):
                watched.put(f"{turn}-{number}.mrc", float(10 * turn + number))
            time.sleep(0.8)
            filler.unlink(missing_ok=True)
            start_s = time.monotonic()
            wait_for(lambda turn=turn: _done(database_path) == 3 * turn + 3, 60.0)  # type: ignore[misc]
            resumed_s.append(time.monotonic() - start_s)
        process.communicate(timeout=60)
        assert process.returncode == 0
        with Run.open(watched.folder / "run.toml") as run:
            events = list(run.journal.replay())
            assert run.store.verify() == []
        database = Database.open(disk / "run" / "state.sqlite")
        assert database.read("PRAGMA integrity_check") == [("ok",)]
        database.close()
        assert len(admitted(events)) == len(set(admitted(events))) == 12
        assert set(finished(events).values()) == {1}
        figure("s from room on the disk to all work done, worst of 4", round(max(resumed_s), 2))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@needs_strace
def test_a_disk_that_becomes_read_only__pauses_without_turning_in_circles_and_work_goes_on_after(
    watched: Watched, figure: Callable[[str, object], None]
) -> None:
    watched.configure(poll_s=0.5)
    watched.put("before.mrc", 1.0)
    process = drive(watched, "6.0")
    path = watched.folder / "run" / "state.sqlite"
    wait_for(lambda: _done(path) == 1)
    calls = "pwrite64,fsync,fdatasync,mkdir,rename,ftruncate,unlink"
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EROFS"]
    tracer = subprocess.Popen([*words, "-p", str(process.pid)], stderr=subprocess.PIPE, text=True)
    time.sleep(0.7)
    if tracer.poll() is not None:
        process.kill()
        process.communicate()
        pytest.skip(f"tracing is not allowed here: {tracer.communicate()[1].strip()}")
    begun_s, begun = time.monotonic(), _cpu_s(process.pid)
    for number in range(3):
        watched.put(f"meanwhile{number}.mrc", 2.0 + number)
    time.sleep(3.0)
    used_frac = (_cpu_s(process.pid) - begun) / (time.monotonic() - begun_s)
    alive = process.poll() is None
    tracer.terminate()
    tracer.communicate()
    assert alive, "the daemon waits"
    assert _done(path) == 1
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    with Run.open(watched.folder / "run.toml") as run:
        events = list(run.journal.replay())
    assert sorted(admitted(events)) == ["before.mrc", *(f"meanwhile{number}.mrc" for number in range(3))]
    assert set(finished(events).values()) == {1}
    figure("share of a core while the disk was read-only", round(used_frac, 3))
    assert used_frac < 0.25


def _done(path: Path) -> int:
    """How many tasks are done, as far as somebody beside the daemon can tell."""
    if not path.exists():
        return 0
    with contextlib.suppress(CryoframeError):
        database = Database.open(path, read_only=True)
        try:
            return State(database).task_counts().get("ctf", {}).get("done", 0)
        finally:
            database.close()
    return 0


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_second_daemon_with_another_host_name__is_refused_with_who_and_where(watched: Watched) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Ur", "--uts", "true"], check=False).returncode:
        pytest.skip("no host name of one's own here")
    process = drive(watched)
    assert process.stdout is not None
    process.stdout.readline()
    script = 'hostname elsewhere && exec "$@"'
    words = [sys.executable, "-c", DRIVER, str(watched.folder / "run.toml"), "0.3"]
    other = subprocess.run(
        ["unshare", "-Ur", "--uts", "sh", "-c", script, "sh", *words], capture_output=True, text=True, check=False
    )
    process.terminate()
    process.communicate()
    assert other.returncode == 1
    assert re.search(rf"in the charge of process {process.pid} on (?!elsewhere)", other.stderr)


@needs_strace
@pytest.mark.parametrize("n_files", [4])
def test_each_product_of_a_session__is_synced_then_named_then_synced_then_recorded(
    watched: Watched, n_files: int, figure: Callable[[str, object], None]
) -> None:
    for number in range(n_files):
        watched.put(f"{number}.mrc", float(number))
    trace = watched.folder / "trace.txt"
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2,pwrite64"
    words = ["strace", "-f", "-qq", "-y", "-s", "6000", "-e", calls, "-o", str(trace), sys.executable, "-c", DRIVER]
    done = subprocess.run([*words, str(watched.folder / "run.toml"), "0.6"], capture_output=True, check=False)
    if b"ptrace" in done.stderr:
        pytest.skip(f"tracing is not allowed here: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr.decode()
    lines = trace.read_text(errors="replace").splitlines()
    stage = watched.folder / "run" / "stages" / "ctf"
    named = {
        at: (found[1], found[2])
        for at, line in enumerate(lines)
        if (found := re.search(rf'rename\w*\("(.*?)", "({re.escape(str(stage))}/[0-9a-f]+)"', line))
    }
    assert len(named) == n_files
    for at, (scratch, final) in named.items():
        before = {found[1] for line in lines[:at] if (found := re.search(r"f(?:data)?sync\(\d+<(.*?)>\)", line))}
        wanted = {f"{scratch}/{path.relative_to(final)}" for path in Path(final).rglob("*")} | {scratch}
        assert wanted <= before, "every file and folder is on the disk before it has its name"
        synced = next(n for n, line in enumerate(lines[at:], at) if "sync(" in line and f"<{stage}>" in line)
        digest = json.loads((Path(final) / "job.json").read_text())["digest"]
        recorded = [n for n, line in enumerate(lines) if "pwrite64" in line and digest in line]
        assert recorded, "the event is seen on its way to the disk"
        assert min(recorded) > synced > at, "the name is on the disk before the event says so"
    figure("commits of a session in the right order", len(named))


@pytest.mark.parametrize("what", ["doubted", "landing"])
def test_while_the_disk_is_short__what_has_to_wait_for_it_costs_no_processor(watched: Watched, what: str) -> None:
    watched.configure(poll_s=0.4, observer="polling")
    path = watched.put("a.mrc")
    watched.session(0.1)
    path.chmod(0o440)
    with Run.open(watched.folder / "run.toml") as run:
        guard = DiskGuard(run.folder, low_bytes=1 << 60, reserve_bytes=4096)
        daemon, runner = Daemon(run, guard), run.runner(live=True)
        daemon._entrances[0].is_pressed = what == "landing"
        while not (guard.reason and len(daemon.roots[0].doubts)):
            daemon._turn(runner)
        n_turns, end_s = 0, time.monotonic() + 1.0
        while time.monotonic() < end_s:
            daemon._turn(runner)
            n_turns += 1
        daemon.close()
    assert n_turns < 50
