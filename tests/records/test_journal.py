"""What the journal acknowledged is there, whoever dies when; the state is what the journal says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoframe.errors import EnvironmentFault, StoreError
from cryoframe.records import events, projection, state
from cryoframe.records.bus import Bus
from cryoframe.records.crash import JOURNAL_POINTS, VARIABLE
from cryoframe.records.database import Database
from cryoframe.records.events import FileSeen, RunResumed, StageFinished, StageProgress, StageQueued, new
from cryoframe.records.journal import VERSION, Journal

WRITER = """\
import sys
from pathlib import Path
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import StageQueued
from cryoframe.records.journal import VERSION, Journal
bus = Bus(Journal(Database.open(Path(sys.argv[1]))), "run")
for number in range(int(sys.argv[2])):
    made = [bus.make(StageQueued, stage_id="s", item_id=f"{number}.{part}", key="k") for part in range(3)]
    bus.publish_many(made)
    print(" ".join(event.event_id for event in made), flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def queued(number: int, run_id: str = "run") -> StageQueued:
    return new(StageQueued, run_id, stage_id="s", item_id=f"{number:06d}", key="k")


def dump(database: Database) -> dict[str, list[state.Row]]:
    return {name: database.read(f"SELECT * FROM {name} ORDER BY 1, 2") for name in projection.NAMES[:-1]}


def check_whole(path: Path, acknowledged: list[str]) -> int:
    """Every acknowledged event is there, groups are whole, and the projection is what the log folds to."""
    database = Database.open(path)
    assert database.read("PRAGMA integrity_check") == [("ok",)]
    journal = Journal(database)
    kept = [event.event_id for event in journal.replay()]
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) % 3 == 0, "a group was torn"
    assert len(kept) <= len(acknowledged) + 3
    live = dump(database)
    assert len(live["tasks"]) == len(kept)
    journal.rebuild()
    assert dump(database) == live
    database.close()
    return len(kept)


def test_events__come_back_in_the_order_they_were_kept(path: Path) -> None:
    journal = Journal(Database.open(path))
    made = [queued(number) for number in range(2500)]
    journal.append(made[:1])
    journal.append(made[1:])
    assert list(journal.replay()) == made
    assert list(journal.replay(after=made[2000].event_id)) == made[2001:]
    assert journal.last_id() == made[-1].event_id


def test_replay_after_an_unknown_event__is_refused(path: Path) -> None:
    with pytest.raises(StoreError, match="no event"):
        list(Journal(Database.open(path)).replay(after="0" * 24))


def test_progress__is_told_but_not_kept(path: Path) -> None:
    journal = Journal(Database.open(path))
    bus, heard = Bus(journal, "run"), []
    bus.subscribe(StageProgress, heard.append)
    bus.publish(StageProgress, stage_id="s", item_id="i", done=1, total=2, message="")
    assert len(heard) == 1
    assert list(journal.replay()) == []


def test_one_bad_event__keeps_none_of_its_group(path: Path) -> None:
    journal = Journal(Database.open(path))
    first = queued(1)
    with pytest.raises(Exception, match="UNIQUE"):
        journal.append([queued(0), first, first])
    assert list(journal.replay()) == []
    journal.append([first])
    assert list(journal.replay()) == [first]


def test_a_bad_group__does_not_harm_those_it_met(path: Path) -> None:
    journal = Journal(Database.open(path))
    doubled = queued(0)
    refused = []

    def append(made: list[StageQueued]) -> None:
        try:
            journal.append(made)
        except Exception as error:
            refused.append(str(error))

    with journal._writing:  # hold the writer so that all of them meet in one group
        groups = [[queued(1), queued(2)], [doubled, doubled], [queued(3)]]
        threads = [threading.Thread(target=append, args=(group,)) for group in groups]
        for thread in threads:
            thread.start()
        while len(journal._waiting) < 3:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert {event.item_id for event in journal.replay()} == {"000001", "000002", "000003"}


def test_appends_of_many_threads__share_transactions_and_lose_nothing(path: Path) -> None:
    journal = Journal(Database.open(path))
    made = [[queued(thread * 1000 + number) for number in range(100)] for thread in range(8)]

    def work(mine: list[StageQueued]) -> None:
        for event in mine:
            journal.append([event])

    threads = [threading.Thread(target=work, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = list(journal.replay())
    assert len(kept) == 800
    for mine in made:
        ids = {event.event_id for event in mine}
        assert [event for event in kept if event.event_id in ids] == mine


@pytest.mark.parametrize("n_acknowledged", [0, 1, 7, 40, 150])
def test_killed_while_appending__every_acknowledged_event_is_there(path: Path, n_acknowledged: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, path, "100000"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(n_acknowledged)]
    process.kill()
    rest, _ = process.communicate()
    whole = [line for line in "".join([*lines, rest]).splitlines() if len(line) == 3 * 24 + 2]
    if path.exists():
        check_whole(path, [one for line in whole for one in line.split()])
    assert len(whole) >= n_acknowledged


@pytest.mark.parametrize("point", [name for name in JOURNAL_POINTS if "rebuild" not in name])
@pytest.mark.parametrize("passage", [1, 5])
def test_dead_at_each_point_of_an_append__groups_are_whole(path: Path, point: str, passage: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, path, "9"],
        env={**os.environ, VARIABLE: f"{point}:{passage}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 137, done.stderr
    n_kept = check_whole(path, done.stdout.split())
    assert n_kept == len(done.stdout.split()) + (3 if point == "journal.committed" else 0)


@pytest.mark.parametrize("point", ["journal.rebuild_dropped", "journal.rebuild_folded"])
def test_dead_while_rebuilding__the_old_projection_is_still_there(path: Path, point: str) -> None:
    subprocess.run([sys.executable, "-c", WRITER, path, "5"], capture_output=True, check=True)
    code = (
        "import sys; from pathlib import Path; from cryoframe.records.database import Database\n"
        "from cryoframe.records.journal import VERSION, Journal\n"
        "Journal(Database.open(Path(sys.argv[1]))).rebuild()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], env={**os.environ, VARIABLE: point}, check=False)
    assert done.returncode == 137
    database = Database.open(path)
    assert len(database.read("SELECT * FROM tasks")) == 15


def test_a_projection_tampered_with__is_mended_by_rebuild(path: Path) -> None:
    database = Database.open(path)
    journal = Journal(database)
    journal.append([queued(number) for number in range(10)])
    before = dump(database)
    with database.transaction() as write:
        write("DELETE FROM tasks WHERE item_id < '000004'")
        write("UPDATE tasks SET status='done'")
    assert dump(database) != before
    assert journal.rebuild() == 10
    assert dump(database) == before


def test_a_damaged_log__is_taken_over_as_far_as_it_can_be_read(path: Path, tmp_path: Path) -> None:
    database = Database.open(path)
    Journal(database).append([queued(number) for number in range(3000)])
    database.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle:] = b"\xa5" * (len(content) - middle)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        Database.open(path)
    fresh = Journal(Database.open(tmp_path / "fresh.sqlite"))
    n_events, n_lost = fresh.take_over(path)
    assert 0 < n_events < 3000
    assert n_lost == 0
    assert [event.item_id for event in fresh.replay()] == [f"{number:06d}" for number in range(n_events)]  # type: ignore[attr-defined]


def test_a_journal_of_a_newer_version__is_refused(path: Path) -> None:
    database = Database.open(path)
    Journal(database)
    with database.transaction() as write:
        write("PRAGMA user_version=99")
    with pytest.raises(StoreError, match=r"version 99.*newer one"):
        Journal(database)


def test_a_bus_on_an_old_journal__goes_on_with_later_ids(path: Path) -> None:
    journal = Journal(Database.open(path))
    late = new(RunResumed, "run", event_id=f"{2**62:016x}00000000")
    journal.append([late])
    assert Bus(journal, "run").publish(RunResumed).event_id > late.event_id


def test_a_disk_that_refuses__fails_every_caller_and_keeps_nothing(path: Path) -> None:
    code = (
        WRITER.split("for number")[0]
        + """
import resource, signal, json
from cryoframe.errors import EnvironmentFault
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
kept, heard = [], []
bus.subscribe(StageQueued, lambda event: heard.append(event.event_id))
try:
    for number in range(100_000):
        kept.append(bus.publish(StageQueued, stage_id="s", item_id=f"{number}", key="k" * 1000).event_id)
except EnvironmentFault:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kept.append(bus.publish(StageQueued, stage_id="s", item_id="after", key="k").event_id)
    print(json.dumps([kept, heard]))
"""
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    kept, heard = json.loads(done.stdout)
    assert kept == heard
    assert 3 < len(kept) < 100_000
    assert [event.event_id for event in Journal(Database.open(path)).replay()] == kept


def test_a_closed_disk__reaches_the_publisher(path: Path) -> None:
    database = Database.open(path, read_only=False)
    journal = Journal(database)
    reader = Database.open(path, read_only=True)
    with pytest.raises(EnvironmentFault):
        Journal(reader).append([queued(1)])
    assert list(journal.replay()) == []


@pytest.mark.bench
def test_bench__durable_events_a_second(path: Path, figure: Callable[[str, object], None]) -> None:
    bus = Bus(Journal(Database.open(path)), "run")
    bus.publish(events.RunOpened, folder="f", config_digest="d")
    figures = {}
    for size in (1, 50, 200):
        n_events = max(400, size * 30)
        start = time.perf_counter()
        for batch in range(n_events // size):
            bus.publish_many([
                bus.make(
                    StageFinished, stage_id="ctf", item_id=f"{size}.{batch}.{part}", key="k" * 40, digest="d" * 40,
                    seconds=1.0, cpu_s=1.0, peak_MB=1.0,
                )
                for part in range(size)
            ])  # fmt: skip
        figures[size] = n_events // size * size / (time.perf_counter() - start)
    seen = [bus.make(FileSeen, path=f"{n}", root="/r", size=1, mtime_ns=1) for n in range(200)]
    bus.publish_many(seen)
    for size, rate in figures.items():
        figure(f"durable events/s in batches of {size}", f"{rate:,.0f}")
    assert len(list(bus._journal.replay())) > 6000  # type: ignore[union-attr]


def test_a_journal_of_version_1__is_carried_over_with_a_copy_kept_and_can_be_looked_into_before(path: Path) -> None:
    database = Database.open(path)
    Bus(Journal(database), "run").publish(events.RunOpened, folder="f", config_digest="d")
    with database.transaction() as write:
        for name in ("alarms", "held", "watermarks"):
            write(f"DROP TABLE {name}")
        write("PRAGMA user_version=1")
    database.close()
    looked = Database.open(path, read_only=True)
    assert Journal(looked).last("RunOpened") is not None
    assert (state.State(looked).alarms(), state.State(looked).held(), state.State(looked).watermarks()) == ([], "", [])
    looked.close()
    database = Database.open(path)
    assert len(list(Journal(database).replay())) == 1
    assert database.read("PRAGMA user_version") == [(VERSION,)]
    assert state.State(database).alarms() == []
    database.close()
    assert Database.open(path.with_suffix(".v1.sqlite")).read("PRAGMA user_version") == [(1,)]


def test_an_interruption_while_others_wait__acknowledges_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, write, told = Journal(Database.open(path)), Database._write, []

    def interrupted(self: Database, sql: str, values: object = ()) -> None:
        write(self, sql, values)  # type: ignore[arg-type]
        if sql.startswith("INSERT"):
            raise KeyboardInterrupt

    def append(number: int) -> None:
        try:
            journal.append([queued(number)])
            told.append("acknowledged")
        except BaseException as error:
            told.append(type(error).__name__)

    monkeypatch.setattr(Database, "_write", interrupted)
    journal._writing.acquire()
    threads = [threading.Thread(target=append, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    journal._writing.release()
    for thread in threads:
        thread.join()
    assert "acknowledged" not in told
    assert "KeyboardInterrupt" in told
    assert list(journal.replay()) == []
