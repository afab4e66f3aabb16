"""A journal written by each earlier version, kept as it was written, is carried over; a newer one is refused."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cryoframe.errors import StoreError
from cryoframe.records import events, folders, journal
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import VERSION, Journal
from cryoframe.records.session_events import EventUnreadable, FileUnchanged
from cryoframe.records.state import State

SAMPLES = sorted((Path(__file__).parents[1] / "recorded" / "journals").glob("v*.sqlite.gz"))


def _unpacked(sample: Path, folder: Path) -> Path:
    path = folder / "state.sqlite"
    path.write_bytes(gzip.decompress(sample.read_bytes()))
    return path


def test_every_version_up_to_this_one__has_a_sample() -> None:
    found = [int(re.match(r"v(\d+)\.", path.name)[1]) for path in SAMPLES]  # type: ignore[index]
    assert found == list(range(1, VERSION + 1)), "python tests/records/journal_sample.py writes the present one's"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name.partition(".")[0])
def test_a_journal_of_an_earlier_version__is_carried_over_whole_with_a_copy_kept(sample: Path, tmp_path: Path) -> None:
    path = _unpacked(sample, tmp_path)
    database = Database.open(path)
    written = int(str(database.read("PRAGMA user_version")[0][0]))
    journal, state = Journal(database), State(database)
    events = list(journal.replay())
    assert len(events) == 24
    assert database.read("PRAGMA user_version") == [(VERSION,)]
    assert state.task_counts() == {"ctf": {"done": 2, "running": 1}}
    assert state.file_counts() == {"settled": 3, "rejected": 1}
    assert [item.item_id for item in state.items()] == ["0.mrc", "1.mrc", "2.mrc"]
    before = state.tasks()
    assert journal.rebuild() == 24
    assert state.tasks() == before
    assert list(journal.replay()) == events
    database.close()
    copy = tmp_path / f"state.v{written}.sqlite"
    assert copy.exists() is (written < VERSION)
    if copy.exists():
        assert len(Database.open(copy, read_only=True).read("SELECT seq FROM events WHERE seq>0")) == 24


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name.partition(".")[0])
def test_the_ctime_of_a_file__is_unknown_in_a_journal_that_did_not_keep_it(sample: Path, tmp_path: Path) -> None:
    path = _unpacked(sample, tmp_path)
    written = int(sample.name[1])
    looked = Database.open(path, read_only=True)
    Journal(looked)
    state, expected = State(looked), 0 if written < 5 else 9
    assert {row.ctime_ns for row in state.files("settled")} == {expected}
    database = Database.open(path)
    journal = Journal(database)
    bus = Bus(journal, "run")
    assert {row.ctime_ns for row in State(database).each_file("/raw") if row.status == "settled"} == {expected}
    (row, *_) = state.files("settled")
    bus.publish(FileUnchanged, path=row.path, root=row.root, digest=row.digest, ctime_ns=77)
    bus.publish(FileUnchanged, path="1.mrc", root=row.root, digest="of something before", ctime_ns=78)
    assert [row.ctime_ns for row in state.files("settled")] == [77, expected, expected], (
        "one that looked on sees it too"
    )
    before = state.files()
    journal.rebuild()
    assert state.files() == before
    looked.close()
    database.close()


def _in_full(folder: Path) -> Path:
    """Return the last journal that wrote its events in full."""
    return _unpacked(next(path for path in SAMPLES if path.name.startswith("v3.")), folder)


#: What becomes of an event's text.
DAMAGE = {
    "cut": "substr(text, 1, 40)",
    "no UTF-8": "CAST(x'7bff7d' AS TEXT)",
    "other fields": """'{"event_id":"1f"}'""",
    "other types": """replace(text, '"run_id":', '"event_id":5,"run_id":')""",
    "nested without end": f"'{'[' * 100_000}'",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_event_that_cannot_be_read__stays_behind_is_said_and_takes_no_other_along(
    damage: str, tmp_path: Path
) -> None:
    path = _in_full(tmp_path)
    database = Database.open(path)
    with database.transaction() as write:
        write(f"UPDATE events SET text={DAMAGE[damage]} WHERE seq=5")
    journal, state = Journal(database), State(database)
    assert database.read("PRAGMA user_version") == [(VERSION,)]
    *kept, said = journal.replay()
    assert len(kept) == 23
    assert isinstance(said, EventUnreadable)
    assert (said.number, said.named, said.run_id, said.kept_in) == (5, "StageQueued", "run", "state.v3.sqlite")
    assert said.event_id > kept[-1].event_id
    assert state.task_counts() == {"ctf": {"done": 2, "running": 1}}
    assert journal.rebuild() == 24
    database.close()
    copy = Database.open(tmp_path / "state.v3.sqlite", read_only=True)
    assert copy.read("SELECT count(*) FROM events") == [(24,)]
    copy.close()


def test_a_reader_that_was_open_before__goes_on_when_the_writer_has_carried_the_log_over(tmp_path: Path) -> None:
    path = _in_full(tmp_path)
    beside = Database.open(path, read_only=True)
    reader = Journal(beside)
    before = list(reader.replay())
    database = Database.open(path)
    added = Bus(Journal(database), "run").publish(events.RunResumed)
    assert list(reader.replay()) == [*before, added]
    assert reader.last() == added
    beside.close()
    database.close()


def test_the_copy__is_on_the_disk_before_anything_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, done = _in_full(tmp_path), list[str]()
    synced, write = folders.sync, Database._write

    def syncing(place: Path) -> None:
        done.append(f"synced {place.name}")
        synced(place)

    def writing(self: Database, sql: str, values: object = ()) -> None:
        done.append(sql)
        write(self, sql, values)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "sync", syncing)
    monkeypatch.setattr(Database, "_write", writing)
    database = Database.open(path)
    Journal(database)
    database.close()
    assert done[:2] == ["synced state.v3.sqlite", f"synced {tmp_path.name}"]
    assert len(done) > 2


@pytest.mark.parametrize("sample", SAMPLES[:-1], ids=lambda path: path.name.partition(".")[0])
def test_dead_while_carrying_over__it_is_of_the_old_version_or_the_new_and_loses_nothing(
    sample: Path, tmp_path: Path
) -> None:
    path = _unpacked(sample, tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from cryoframe.records.database import Database\n"
        "from cryoframe.records.journal import Journal\n"
        "commit, data = Database._write, Database.open(Path(sys.argv[1]))\n"
        "def dying(self, sql, values=()):\n"
        "    commit(self, sql, values)\n"
        "    if 'user_version' in sql: os._exit(9)\n"
        "Database._write = dying\nJournal(data)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    database = Database.open(path)
    assert len(list(Journal(database).replay())) == 24
    assert State(database).task_counts() == {"ctf": {"done": 2, "running": 1}}


def test_a_journal_of_the_next_version__is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = _unpacked(SAMPLES[-1], tmp_path)
    database = Database.open(path)
    with database.transaction() as write:
        write(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(StoreError, match=f"version {VERSION + 1}.*newer one"):
        Journal(database)
    assert database.read("PRAGMA user_version") == [(VERSION + 1,)]
    assert database.read("SELECT count(*) FROM events WHERE seq>0") == [(24,)]
