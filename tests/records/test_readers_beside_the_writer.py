"""Eight readers and a long reading beside the one writer; a long log taken up by a new process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import StageQueued
from cryoframe.records.journal import Journal
from cryoframe.records.state import State

READER = """\
import sys, time
from pathlib import Path
from cryoframe.records.database import Database
from cryoframe.records.state import State
state = State(Database.open(Path(sys.argv[1]), read_only=True))
last, until_s = 0, time.monotonic() + 60
print("reading", flush=True)
while not Path(sys.argv[2]).exists() and time.monotonic() < until_s:
    n = state.task_counts().get("s", {}).get("queued", 0)
    assert n >= last and n % 5 == 0, (last, n)
    last = n
    time.sleep(0.005)
"""
LOAD = """\
import sys, time
from pathlib import Path
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.state import State
def resident_kB():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
begun_s, before = time.monotonic(), resident_kB()
database = Database.open(Path(sys.argv[1]))
n = sum(1 for _ in Journal(database).replay())
waiting = State(database).task_counts()
print(n, waiting["s"]["queued"], (resident_kB() - before) / 1024,
      time.monotonic() - begun_s)
"""


def test_eight_readers_and_a_long_reading__leave_the_writer_its_pace_and_see_whole_groups(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    path, stop = tmp_path / "state.sqlite", tmp_path / "stop"
    database = Database.open(path)
    bus = Bus(Journal(database), "run")
    words = [sys.executable, "-c", READER, str(path), str(stop)]
    readers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()
    long_one = Database.open(path, read_only=True)
    long_one._connection.execute("BEGIN")
    n_first = len(long_one.read("SELECT seq FROM events WHERE seq>0"))
    waits_s = []
    for number in range(200):
        made = [bus.make(StageQueued, stage_id="s", item_id=f"{number}.{part}", key="k" * 40) for part in range(5)]
        begun_s = time.monotonic()
        bus.publish_many(made)
        waits_s.append(time.monotonic() - begun_s)
    wal_MB = path.with_name("state.sqlite-wal").stat().st_size / 2**20
    assert len(long_one.read("SELECT seq FROM events WHERE seq>0")) == n_first, "a long reading sees one moment"
    long_one._connection.execute("COMMIT")
    stop.touch()
    assert [reader.wait(30) for reader in readers] == [0] * 8
    for reader in readers:
        reader.stdout.close()  # type: ignore[union-attr]
    p99_s = sorted(waits_s)[int(0.99 * len(waits_s))]
    figure(
        "a group of events beside 9 readers, p99 ms; log beside the database, MB", f"{1e3 * p99_s:.0f}, {wal_MB:.1f}"
    )
    assert wal_MB < 64
    assert p99_s < 5.0, "nobody waited for the busy time-out"
    assert len(database.read("SELECT seq FROM events WHERE seq>0")) == 1000


@pytest.mark.parametrize("n_events", [15_000])
def test_a_long_log__is_read_by_a_new_process_in_little_memory(
    tmp_path: Path, n_events: int, figure: Callable[[str, object], None]
) -> None:
    path = tmp_path / "state.sqlite"
    database = Database.open(path)
    bus = Bus(Journal(database), "run")
    for start in range(0, n_events, 1000):
        bus.publish_many(
            [
                bus.make(StageQueued, stage_id="s", item_id=f"{number}", key=f"{number:040x}")
                for number in range(start, start + 1000)
            ]
        )
    assert State(database).task_counts() == {"s": {"queued": n_events}}
    database.close()
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
    n, waiting, grown_MB, seconds = done.stdout.split()
    assert (int(n), int(waiting)) == (n_events, n_events)
    assert float(grown_MB) < 40, "a page of the log at a time"
    figure(f"{n_events} events replayed: MB more, s", f"{float(grown_MB):.0f}, {float(seconds):.2f}")
