"""What becomes of an attempt whose task has gone on to another content says nothing of the task (simulator, 1042)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.state import State

TASK = {"stage_id": "ctf", "item_id": "a.mrc"}
SPENT = {"seconds": 1.0, "cpu_s": 1.0, "peak_MB": 1.0}
ENDS: dict[type[events.Event], dict[str, Any]] = {
    events.StageFinished: {"digest": "of the old", **SPENT},
    events.StageFailed: {"attempt": 1, "error_class": "bug", "message": "late", "traceback_file": ""},
    events.StageGivenUp: {"reason": "late"},
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_done", [True, False])
def test_a_late_end_of_a_superseded_attempt__leaves_the_task_as_it_is(
    tmp_path: Path, end: type[events.Event], is_done: bool
) -> None:
    database = Database.open(tmp_path / "state.sqlite")
    journal, state = Journal(database), State(database)
    bus = Bus(journal, "r")
    bus.publish(events.RunOpened, folder="", config_digest="")
    for key in ("old", "new"):
        bus.publish(events.StageQueued, **TASK, key=key)
        bus.publish(events.StageStarted, **TASK, key=key, attempt=1, worker="w", device="cpu")
    if is_done:
        bus.publish(events.StageFinished, **TASK, key="new", digest="of the new", **SPENT)
    before = state.task("ctf", "a.mrc")
    bus.publish(end, **TASK, key="old", **ENDS[end])
    assert state.task("ctf", "a.mrc") == before
    journal.rebuild()
    assert state.task("ctf", "a.mrc") == before
