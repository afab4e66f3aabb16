"""The log is written in few bytes and read back as it was said; what was not committed is not counted on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryoframe.errors import Corrupt, EnvironmentFault
from cryoframe.records import events, forms
from cryoframe.records.bus import Bus
from cryoframe.records.database import DamagedDatabase, Database
from cryoframe.records.events import Event, ForeignEvent, new
from cryoframe.records.journal import Journal
from cryoframe.records.rebuild import rebuild
from cryoframe.records.session_events import EventUnreadable
from cryoframe.records.state import State
from cryoframe.testing.soak import history

DIGEST = "ab" * 20
FACTS = {"ny_px": 4092, "n_frames": 40, "voltage_kV": 300.0, "metadata_missing": True, "session": "caf\udce9"}


def _read(path: Path) -> list[Event]:
    database = Database.open(path)
    found = list(Journal(database).replay())
    database.close()
    return found


@pytest.mark.parametrize("cause", ["", "0123456789abcdef01234567", "no id of ours"])
@pytest.mark.parametrize("facts", [{}, FACTS, {str(n): n for n in range(60)}])
def test_what_is_said__is_read_back(tmp_path: Path, cause: str, facts: dict[str, events.Scalar]) -> None:
    said: dict[str, Any] = {
        "item_id": "a\udcffb",
        "kind": "Movie",
        "digest": DIGEST,
        "path": "/r/" + "x" * 400,
        "facts": facts,
    }
    made = [
        new(events.ItemAdmitted, "r", cause, **said),
        new(events.RunOpened, "another", folder="f" * 400, config_digest=""),
        ForeignEvent(
            event_id="1f",
            time_utc="when",
            run_id="r",
            cause=cause,
            name="Odd",
            text=f'{{"event_id":"1f","time_utc":"when","run_id":"r","cause":"{cause}","list":[1,2],"map":{{"a":1}}}}',
        ),
    ]
    database = Database.open(tmp_path / "state.sqlite")
    Journal(database).append(made)
    database.close()
    back = _read(tmp_path / "state.sqlite")
    assert back[:2] == made[:2]
    assert isinstance(back[2], ForeignEvent)
    assert (back[2].event_id, back[2].time_utc, back[2].cause, back[2].name) == ("1f", "when", cause, "Odd")
    told = history.events(tmp_path)
    assert [name for name, _ in told] == ["ItemAdmitted", "RunOpened", "Odd"]
    assert (told[0][1]["facts"], told[0][1]["cause"], told[0][1]["run_id"]) == (facts, cause, "r")
    assert (told[2][1]["list"], told[2][1]["map"]) == ([1, 2], {"a": 1})


def test_a_form_that_was_not_committed__is_written_with_the_next_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    bus, write = Bus(Journal(database), "r"), Database._write

    def refusing(self: Database, sql: str, values: object = ()) -> None:
        write(self, sql, values)  # type: ignore[arg-type]
        if sql == forms.INSERT:
            raise EnvironmentFault("the disk is full")

    monkeypatch.setattr(Database, "_write", refusing)
    with pytest.raises(EnvironmentFault):
        bus.publish(events.RunPaused, reason="full")
    monkeypatch.undo()
    bus.publish(events.RunPaused, reason="full")
    bus.publish(events.RunPaused, reason="again")
    database.close()
    assert [event.reason for event in _read(tmp_path / "state.sqlite")] == ["full", "again"]  # type: ignore[attr-defined]


def test_an_event_whose_form_is_lost__is_said_to_be_damaged(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    Bus(Journal(database), "r").publish(events.RunResumed)
    with database.transaction() as write:
        write("DELETE FROM events WHERE seq<0")
    with pytest.raises(Corrupt, match="not an event"):
        list(Journal(database).replay())
    database.close()


def test_metrics_of_thousands_of_names__have_no_more_forms_than_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "MOST_FORMS", 50)
    database = Database.open(tmp_path / "state.sqlite")
    bus, n_names = Bus(Journal(database), "r"), 300
    where = {"stage_id": "s", "item_id": "i", "unit": "A"}
    made = [
        bus.make(events.MetricReported, **where, name=f"m{number}", value=float(number)) for number in range(n_names)
    ]
    bus.publish_many(made)
    facts = {f"k{number}": number for number in range(5)}
    admitted = bus.publish(events.ItemAdmitted, item_id="i", kind="Movie", digest="d", path="p", facts=facts)
    n_forms = database.read("SELECT count(*) FROM events WHERE seq<0")[0][0]
    assert n_forms == 50 + 2, "one more for each class"
    assert len(State(database).metrics("s", "i")) == n_names
    database.close()
    assert _read(tmp_path / "state.sqlite") == [*made, admitted]
    assert [said["name"] for name, said in history.events(tmp_path) if name == "MetricReported"] == [
        event.name for event in made
    ]


def test_a_reader_beside_the_writer__reads_events_of_forms_that_came_after_it(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    bus = Bus(Journal(database), "r")
    first = bus.publish(events.RunPaused, reason="before")
    beside = Database.open(tmp_path / "state.sqlite", read_only=True)
    reader = Journal(beside)
    assert list(reader.replay()) == [first]
    later = bus.publish(events.RunResumed)
    assert reader.last() == later
    assert list(reader.replay(after=first.event_id)) == [later]
    beside.close()
    database.close()


def test_a_text_that_is_no_utf8__is_damage_that_rebuild_mends(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    journal = Journal(database)
    bus = Bus(journal, "r")
    for number in range(3):
        bus.publish(events.RunPaused, reason=f"reason {number}")
    with database.transaction() as write:
        write("UPDATE events SET content=CAST(x'5b22ff225d' AS TEXT) WHERE seq=2")
    with pytest.raises(DamagedDatabase, match="utf-8"):
        list(journal.replay())
    database.close()
    done = rebuild(tmp_path)
    assert (done.n_events, done.n_unreadable) == (2, 1)
    assert done.set_aside is not None
    first, last, said = _read(tmp_path / "state.sqlite")
    assert [event.reason for event in (first, last)] == ["reason 0", "reason 2"]  # type: ignore[attr-defined]
    assert isinstance(said, EventUnreadable)
    assert (said.number, said.kept_in) == (2, done.set_aside.name)


def test_a_file_that_lands_and_is_queued__takes_less_than_two_kilobytes(tmp_path: Path, figure: object) -> None:
    database, n_files = Database.open(tmp_path / "state.sqlite"), 2000
    bus, root = Bus(Journal(database), "session_2026"), "/data/krios1/2026-11-23_user"
    for first in range(0, n_files, 100):
        made: list[Event] = []
        for number in range(first, first + 100):
            name = f"Images-Disc1/GridSquare_{number // 500}/Data/FoilHole_{number:08d}_Data_{number}_fractions.tiff"
            place, digest = {"path": name, "root": root}, f"{number * 7919:040x}"
            made.append(bus.make(events.FileSeen, **place, size=300 << 20, mtime_ns=number))
            made.append(bus.make(events.FileSettled, **place, size=300 << 20, mtime_ns=number, digest=digest))
            facts = {"ny_px": 4092, "nx_px": 5760, "n_frames": 40, "voltage_kV": 300.0, "pixel_size_A": 0.83}
            said = {"item_id": name, "kind": "Movie", "digest": digest, "path": f"{root}/{name}"}
            made.append(bus.make(events.ItemAdmitted, **said, facts=facts))
            made.append(bus.make(events.StageQueued, stage_id="motion", item_id=name, key=digest))
        bus.publish_many(made)
    database.close()
    each_kB = (tmp_path / "state.sqlite").stat().st_size / n_files / 1000
    figure("a landed file in the database, kB", f"{each_kB:.2f}")  # type: ignore[operator]
    assert each_kB <= 2.0
