"""The state is what the events say, whatever their order of arrival, and answers in one order."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

from cryoframe.records import events, projection, session_events, state
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import (
    FileDuplicate,
    FileIgnored,
    FileRejected,
    FileSeen,
    FileSettled,
    FileSuperseded,
    ItemAdmitted,
    MetricReported,
    ProductSaved,
    RunOpened,
    StageFailed,
    StageFinished,
    StageGivenUp,
    StageQueued,
    StageRetried,
    StageSkipped,
    StageStarted,
)
from cryoframe.records.journal import Journal
from cryoframe.records.state import FileRow, Item, State, Task

CTF = {"stage_id": "ctf", "item_id": "a.mrc"}
A = {"path": "a.mrc", "root": "/data"}


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    database = Database.open(tmp_path / "state.sqlite")
    made = Bus(Journal(database), "run")
    made.state = State(database)  # type: ignore[attr-defined]
    made.publish(RunOpened, folder="f", config_digest="d")
    return made


def state_of(bus: Bus) -> State:
    return typing.cast(State, bus.state)  # type: ignore[attr-defined]


def start(bus: Bus, attempt: int = 1) -> None:
    bus.publish(StageStarted, **CTF, key="k", attempt=attempt, worker="w", device="cpu")


def test_a_task__goes_from_queued_to_done(bus: Bus) -> None:
    bus.publish(StageQueued, **CTF, key="k")
    assert state_of(bus).task("ctf", "a.mrc") == Task("ctf", "a.mrc", "k", "queued", 0, "", "", "")
    start(bus)
    assert state_of(bus).task("ctf", "a.mrc") == Task("ctf", "a.mrc", "k", "running", 1, "", "", "")
    bus.publish(StageFinished, **CTF, key="k", digest="d", seconds=1.0, cpu_s=1.0, peak_MB=1.0)
    assert state_of(bus).task("ctf", "a.mrc") == Task("ctf", "a.mrc", "k", "done", 1, "", "", "d")


def test_a_failing_task__keeps_count_and_reason_until_given_up_and_retried(bus: Bus) -> None:
    for attempt in (1, 2):
        start(bus, attempt)
        failure = {"error_class": "bug", "message": "boom", "traceback_file": "t"}
        bus.publish(StageFailed, **CTF, key="k", attempt=attempt, **failure)
        assert state_of(bus).task("ctf", "a.mrc") == Task("ctf", "a.mrc", "k", "failed", attempt, "bug", "boom", "")
    bus.publish(StageGivenUp, **CTF, key="k", reason="boom twice")
    assert state_of(bus).task("ctf", "a.mrc") == Task("ctf", "a.mrc", "k", "given_up", 2, "bug", "boom twice", "")
    bus.publish(StageRetried, **CTF)
    task = state_of(bus).task("ctf", "a.mrc")
    assert task is not None
    assert (task.status, task.attempts) == ("queued", 0)


def test_a_task_queued_anew_with_another_key__counts_from_zero(bus: Bus) -> None:
    start(bus, 3)
    bus.publish(StageQueued, **CTF, key="k")
    assert state_of(bus).tasks()[0].attempts == 3
    bus.publish(StageQueued, **CTF, key="other")
    assert (state_of(bus).tasks()[0].attempts, state_of(bus).tasks()[0].key) == (0, "other")


def test_a_skipped_task__is_done(bus: Bus) -> None:
    bus.publish(StageSkipped, **CTF, key="k", digest="d", reason="in the store")
    assert state_of(bus).tasks(status="done")[0].digest == "d"


def test_tasks_running_in_an_earlier_process__are_interrupted(bus: Bus) -> None:
    start(bus)
    assert state_of(bus).interrupted() == []
    bus.publish(RunOpened, folder="f", config_digest="d")
    assert [task.item_id for task in state_of(bus).interrupted()] == ["a.mrc"]
    start(bus, 2)
    assert state_of(bus).interrupted() == []


def test_a_file__has_one_status_with_its_reason(bus: Bus) -> None:
    bus.publish(FileSeen, **A, size=5, mtime_ns=7)
    assert state_of(bus).file("/data", "a.mrc") == FileRow("a.mrc", "/data", 5, 7, "", "seen", "")
    bus.publish(FileSettled, **A, size=6, mtime_ns=8, digest="d")
    assert state_of(bus).file("/data", "a.mrc") == FileRow("a.mrc", "/data", 6, 8, "d", "settled", "")
    bus.publish(FileSeen, path="b.mrc", root="/data", size=1, mtime_ns=1)
    bus.publish(FileDuplicate, path="b.mrc", root="/data", item_id="a.mrc")
    bus.publish(FileRejected, path="c.mrc", root="/data", reason="cut", kind="Corrupt")
    bus.publish(FileIgnored, path=".d", root="/data", rule="hidden")
    assert [(row.path, row.status, row.reason) for row in state_of(bus).files()] == [
        (".d", "ignored", "hidden"),
        ("a.mrc", "settled", ""),
        ("b.mrc", "duplicate", "a.mrc"),
        ("c.mrc", "rejected", "Corrupt: cut"),
    ]
    assert state_of(bus).file_counts() == {"duplicate": 1, "ignored": 1, "rejected": 1, "settled": 1}


@pytest.mark.parametrize("settled_first", [True, False])
def test_a_superseded_file__is_settled_again_whichever_event_comes_first(bus: Bus, settled_first: bool) -> None:
    bus.publish(FileSettled, **A, size=6, mtime_ns=8, digest="old")
    again = bus.make(FileSettled, **A, size=6, mtime_ns=9, digest="new")
    over = bus.make(FileSuperseded, **A, old_digest="old", digest="new")
    for event in (again, over) if settled_first else (over, again):
        bus.publish_many([event])
        if event is over and not settled_first:
            assert state_of(bus).file_counts() == {"superseded": 1}
    row = state_of(bus).file("/data", "a.mrc")
    assert row is not None
    assert (row.status, row.digest) == ("settled", "new")


def test_items__are_found_by_id_by_content_and_in_order(bus: Bus) -> None:
    facts = {"pixel_size_A": 0.85, "n_frames": 40, "camera": "K3", "dose_weighted": False}
    for name, kind in (("z", "Movie"), ("a", "Micrograph"), ("m", "Movie")):
        bus.publish(ItemAdmitted, item_id=name, kind=kind, digest=f"d{name}", path=f"/data/{name}", facts=facts)
    assert [item.item_id for item in state_of(bus).items()] == ["a", "m", "z"]
    assert [item.item_id for item in state_of(bus).items("Movie")] == ["m", "z"]
    assert state_of(bus).item("m") == Item("m", "Movie", "dm", "/data/m", facts)
    assert state_of(bus).item_by_digest("dz") == state_of(bus).item("z")
    assert state_of(bus).item("absent") is None
    assert state_of(bus).item_by_digest("absent") is None


def test_names_that_are_not_utf8__are_found_again(bus: Bus) -> None:
    name = b"\xff\xfe;%s\n.mrc".decode("utf-8", "surrogateescape")
    bus.publish(FileSeen, path=name, root="/data", size=1, mtime_ns=1)
    bus.publish(ItemAdmitted, item_id=name, kind="Movie", digest="d", path=f"/data/{name}", facts={"name": name})
    bus.publish(StageQueued, stage_id="ctf", item_id=name, key="k")
    found = state_of(bus).file("/data", name)
    item = state_of(bus).item(name)
    assert found is not None
    assert item is not None
    assert (found.path, item.item_id, item.facts["name"]) == (name, name, name)
    assert state_of(bus).task("ctf", name) is not None


def test_products_and_metrics__are_found_by_key(bus: Bus) -> None:
    bus.publish(ProductSaved, key="k", kind="CtfFit", digest="d", path="stages/ctf/k")
    bus.publish(MetricReported, **CTF, name="score", value=0.25, unit="")
    bus.publish(MetricReported, **CTF, name="score", value=0.5, unit="")
    assert state_of(bus).product("k") == ("CtfFit", "d", "stages/ctf/k")
    assert state_of(bus).product("absent") is None
    assert state_of(bus).metrics("ctf", "a.mrc") == {"score": (0.5, "")}


def test_counts__are_by_stage_and_status(bus: Bus) -> None:
    for number in range(3):
        bus.publish(StageQueued, stage_id="ctf", item_id=str(number), key="k")
    bus.publish(StageSkipped, stage_id="pick", item_id="0", key="k", digest="d", reason="r")
    assert state_of(bus).task_counts() == {"ctf": {"queued": 3}, "pick": {"done": 1}}


@pytest.mark.parametrize("name", [cls.__name__ for cls in projection.FOLDS])
def test_every_folded_event__changes_the_tables_and_refolds_to_the_same(bus: Bus, name: str) -> None:
    cls = getattr(session_events, name, None) or getattr(events, name)
    bus.publish(FileSettled, path="x", root="x", size=9, mtime_ns=9, digest="x")
    bus.publish(StageStarted, stage_id="x", item_id="x", key="x", attempt=7, worker="w", device="cpu")
    if undone := {"AlarmCleared": session_events.AlarmRaised, "RunReleased": session_events.RunHeld}.get(name):
        bus.publish(undone, **_payload(undone))
    journal = typing.cast(Journal, bus._journal)
    before = _dump(journal)
    bus.publish(cls, **_payload(cls))
    after = _dump(journal)
    assert after != before
    journal.rebuild()
    assert _dump(journal) == after


def _payload(cls: type[events.Event]) -> dict[str, typing.Any]:
    sample = {str: "x", int: 1, float: 0.5, dict[str, events.Scalar]: {"a": 1}}
    header = {"event_id", "time_utc", "run_id", "cause"}
    hints = typing.get_type_hints(cls)
    return {f.name: sample[hints[f.name]] for f in dataclasses.fields(cls) if f.name not in header}


def _dump(journal: Journal) -> dict[str, list[state.Row]]:
    return {name: journal._database.read(f"SELECT * FROM {name}") for name in projection.NAMES}
