"""After a restart everything is looked at, a little at a time, and it comes to the same as a look at everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_world import World, names

from cryoframe.execution import sweep
from cryoframe.execution.known import DONE, GIVEN_UP, TOLD, WAITING, Known, KnownTasks
from cryoframe.records.events import StageQueued, StageStarted

pytestmark = pytest.mark.usefixtures("no_discovery")
STAGES = ("ctf", "pick", "box", "classes")


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one task looked at a step."""
    monkeypatch.setattr(sweep, "LOOK_S", 1e-9)
    monkeypatch.setattr(sweep, "_AT_ONCE", 1)
    monkeypatch.setattr(sweep.Sweep.go_on, "__defaults__", (1e-9,))


@pytest.mark.usefixtures("slowly")
def test_a_restart_with_another_seed__redoes_all_items_before_a_stage_over_them(tmp_path: Path) -> None:
    world = World(tmp_path, stages=STAGES, n_micrographs=6)
    with world.open() as run:
        run.execute()
        before = {task.item_id: task.key for task in run.state.tasks("box")}
    world.seed = 8
    world.write()
    with world.open() as run:
        n_before = len(list(run.journal.replay()))
        run.runner().run_until_idle()
        counts = run.state.task_counts()
        new = list(run.journal.replay())[n_before:]
        after = {task.item_id: task.key for task in run.state.tasks("box")}
    assert counts == {stage: {"done": 1 if stage == "classes" else 6} for stage in STAGES}
    assert all(after[name] != before[name] for name in before)
    started = [event.stage_id for event in new if isinstance(event, StageStarted)]
    assert {stage: started.count(stage) for stage in STAGES} == {"ctf": 6, "pick": 6, "box": 6, "classes": 1}


@pytest.mark.usefixtures("slowly")
def test_a_restart_with_nothing_new__starts_nothing_and_says_nothing_of_what_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, stages=STAGES, n_micrographs=4)
    with world.open() as run:
        run.execute()
        before = names(run)
    with world.open() as run:
        run.execute()
        said = names(run)[len(before) :]
    assert not {"StageQueued", "StageStarted", "StageSkipped", "StageFinished", "ProductSaved"} & set(said)


def test_what_was_queued__is_queued_after_a_restart_and_is_not_said_again(tmp_path: Path) -> None:
    world = World(tmp_path, stages=("ctf", "pick"), n_micrographs=5)
    with world.open() as run:
        run.runner(live=True).held = "a test"
        run.admit_inputs()
        run.runner(live=True).step(0.0)
    with world.open() as run:
        run.execute()
        queued = [event.stage_id for event in run.journal.replay() if isinstance(event, StageQueued)]
        assert run.state.task_counts() == {"ctf": {"done": 5}, "pick": {"done": 5}}
    assert (queued.count("ctf"), queued.count("pick")) == (5, 5)


def test_a_task_whose_input_went_out_of_date_while_it_waited__is_done_when_that_is_there_again(tmp_path: Path) -> None:
    world = World(tmp_path, stages=("ctf", "pick"), n_micrographs=1, workers=1)
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        runner.step(0.0)
        runner.held = "a test"
        while runner.running():
            runner.step(0.0)
        assert run.state.task_counts() == {"ctf": {"done": 1}, "pick": {"queued": 1}}
        name = ("ctf", "m0.mrc")
        runner.ledger.known[name] = replace(runner.ledger.known[name], status=WAITING)
        runner.held = ""
        assert not runner.step(0.0), "it is not begun on what is out of date"
        runner.run_until_idle()
        assert run.state.task_counts() == {"ctf": {"done": 1}, "pick": {"done": 1}}


@pytest.mark.parametrize("key", ["ab" * 20, "AB" * 20, "key", "a b" * 4, ""])
@pytest.mark.parametrize("status", [DONE, GIVEN_UP, WAITING, TOLD, "queued", "running"])
def test_what_is_known__is_given_back_as_it_was_told(key: str, status: str) -> None:
    known = KnownTasks()
    for attempts in (0, 3, 255, 256):
        told = Known(key, status, "cd" * 20, attempts)
        known["ctf", "a"] = told
        assert known["ctf", "a"] == known.get(("ctf", "a")) == told
        assert known.is_done("ctf", "a") is (status == DONE)
        assert known.n_done["ctf"] == (status == DONE)
    known.forget("ctf", "a")
    assert (known.get(("ctf", "a")), known.get(("never", "a")), known.n_done["ctf"]) == (None, None, 0)
