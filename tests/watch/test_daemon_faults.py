"""Signals, kills at any place, tracing: a session that is ended in any way goes on, and leaves no trace behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from watched_session import DRIVER, Watched, admitted, drive, finished, mrc_bytes

from cryoframe.errors import StoreError
from cryoframe.execution.run import Run
from cryoframe.records.events import FileDuplicate
from cryoframe.watch.daemon import Daemon


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal__ends_in_good_order(watched: Watched, number: signal.Signals) -> None:
    watched.put("a.mrc")
    process = drive(watched)
    assert process.stdout is not None
    while "1" not in process.stdout.readline():
        pass
    process.send_signal(number)
    assert process.wait(15.0) == 0
    process.stdout.close()
    with Run.open(watched.folder / "run.toml") as run:
        assert [type(event).__name__ for event in run.journal.replay()][-2] == "RunFinished"


def test_a_second_daemon__is_refused_with_who_and_where(watched: Watched) -> None:
    process = drive(watched)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(StoreError, match=f"process {process.pid}"):
        Run.open(watched.folder / "run.toml")
    process.terminate()
    process.communicate()


@pytest.mark.slow
def test_killed_again_and_again__nothing_is_lost_and_nothing_done_twice(watched: Watched) -> None:
    n_files = 60
    stop = threading.Event()

    def land() -> None:
        for number in range(n_files):
            watched.put(f"{number:03d}.mrc", float(number))
            time.sleep(0.1)
        stop.set()

    thread = threading.Thread(target=land)
    thread.start()
    for delay_s in (0.7, 1.3, 0.9, 1.6, 1.1):
        process = drive(watched)
        time.sleep(delay_s)
        process.kill()
        process.communicate()
    thread.join()
    events = watched.session_apart()
    assert sorted(set(admitted(events))) == [f"{number:03d}.mrc" for number in range(n_files)]
    assert len(admitted(events)) == n_files
    outcomes = finished(events)
    assert set(outcomes.values()) == {1}
    assert watched.tasks == {"ctf": {"done": n_files}}


ADMISSION_POINTS = [
    "admit.digested", "admit.settled", "journal.inserted:4", "journal.committed:5", "runner.queued:2", "runner.outcome",
    "runner.before_commit", "runner.committed", "store.before_rename", "store.renamed", "journal.begun:9",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("point", ADMISSION_POINTS)
def test_dead_at_a_named_point__the_next_session_brings_it_to_its_end(watched: Watched, point: str) -> None:
    for number in range(3):
        watched.put(f"{number}.mrc", float(number))
    process = drive(watched, "0.5", CRYOFRAME_CRASH_AT=point)
    process.communicate()
    events = watched.session_apart()
    assert sorted(admitted(events)) == ["0.mrc", "1.mrc", "2.mrc"]
    assert watched.tasks == {"ctf": {"done": 3}}
    assert max(finished(events).values()) == 1
    with Run.open(watched.folder / "run.toml") as run:
        assert run.store.verify() == []
        assert len(list((run.folder / "stages" / "ctf").iterdir())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("point", ["admit.group", "admit.judged:3", "admit.settled", "journal.inserted:9"])
def test_dead_while_files_of_one_content_are_admitted_together__each_is_an_item_or_a_copy_once(
    watched: Watched, point: str
) -> None:
    for number in range(6):
        watched.put(f"{number}.mrc", float(number % 3))
    process = drive(watched, "0.5", CRYOFRAME_CRASH_AT=point)
    process.communicate()
    assert process.returncode == 137, "it died there"
    events = watched.session_apart()
    copies = [event.path for event in events if isinstance(event, FileDuplicate)]
    assert len(admitted(events)) == len(set(admitted(events))) == len(copies) == len(set(copies)) == 3
    assert watched.tasks == {"ctf": {"done": 3}}
    assert max(finished(events).values()) == 1


@pytest.mark.slow
def test_a_session_under_strace__opens_nothing_below_the_watched_folder_for_writing(watched: Watched) -> None:
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("strace is not installed")
    for number in range(3):
        watched.put(f"{number}.mrc", float(number))
    (watched.land / "cut.mrc").write_bytes(mrc_bytes(watched.folder)[:1500])
    calls = "trace=open,openat,creat,rename,renameat,renameat2,unlink,unlinkat,chmod,fchmodat,truncate,mkdir,utimensat"
    log = watched.folder / "strace.txt"
    command = [tracer, "-f", "-qq", "-e", calls, "-o", str(log), sys.executable, "-c", DRIVER]
    done = subprocess.run([*command, str(watched.folder / "run.toml"), "0.6"], capture_output=True, check=False)
    if done.returncode and b"ptrace" in done.stderr:
        pytest.skip(f"tracing is not allowed here: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr.decode()
    touching = [line for line in log.read_text(errors="replace").splitlines() if f'"{watched.land}' in line]
    assert len([line for line in touching if "0.mrc" in line and "O_RDONLY" in line]) >= 3, "the trace saw the reading"
    assert not [line for line in touching if "openat(" not in line and "open(" not in line]
    assert not [line for line in touching if any(flag in line for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"))]


@pytest.mark.slow
def test_a_long_quiet_session__keeps_its_descriptors_threads_and_children(watched: Watched, daemon: Daemon) -> None:
    runner = daemon._run.runner(live=True)
    sizes = []
    for number in range(30):
        watched.put(f"{number}.mrc", float(number))
        for _ in range(8):
            daemon.rescans.now()
            daemon._next_look_s = 0.0
            daemon._turn(runner)
        if number >= 5:
            sizes.append((len(os.listdir("/proc/self/fd")), threading.active_count()))  # noqa: PTH208
    assert daemon.counts()["admitted"] >= 25
    assert max(fds for fds, _ in sizes) - min(fds for fds, _ in sizes) <= 2
    assert len({threads for _, threads in sizes}) == 1
