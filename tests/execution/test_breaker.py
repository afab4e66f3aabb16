"""An implementation that keeps failing is held and tried now and then; a file, or one bad item, never holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_world import World, names

from cryoframe.execution.breaker import MAX_TRIAL_S, TRIAL_S, WINDOW, Breaker
from cryoframe.records.events import ItemAdmitted, StageFailed
from cryoframe.records.session_events import StageHeld, StageReleased


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _fail(breaker: Breaker, n_items: int, first: int = 0) -> list[str]:
    return [breaker.ended("p", f"item {n}", went_well=False, why="x") for n in range(first, first + n_items)]


def test_more_than_half_of_the_last_twenty__hold_it() -> None:
    breaker = Breaker(_Clock())
    for n in range(100):
        assert breaker.ended("p", f"good {n}", went_well=True) == ""
    assert _fail(breaker, WINDOW // 2) == [""] * 10
    assert breaker.allows("p")
    assert _fail(breaker, 1, 10) == ["held"]
    assert not breaker.allows("p")
    assert breaker.allows("another")
    assert breaker.failing() == {"p": "11 of the last 20 items failed, the last: x"}


def test_one_item_or_damaged_files__never_hold_it() -> None:
    breaker = Breaker(_Clock())
    for n in range(100):
        assert breaker.ended("p", "the same", went_well=False, why="x") == ""
        assert breaker.ended("p", f"damaged {n}", went_well=None) == ""
    assert breaker.allows("p")


def test_a_held_one__gets_one_trial_at_a_time_each_later_than_the_last_until_one_goes_well() -> None:
    clock = _Clock()
    breaker = Breaker(clock)
    _fail(breaker, 11)
    waits_s = []
    for n in range(9):
        start_s = clock.now_s
        while not breaker.allows("p"):
            clock.now_s += 1.0
        waits_s.append(clock.now_s - start_s)
        breaker.begun("p")
        assert not breaker.allows("p"), "one at a time"
        assert breaker.ended("p", f"trial {n}", went_well=False) == ""
    assert waits_s[:3] == [TRIAL_S, 2 * TRIAL_S, 4 * TRIAL_S]
    assert waits_s[-1] == MAX_TRIAL_S
    clock.now_s += MAX_TRIAL_S
    breaker.begun("p")
    assert breaker.ended("p", "mended", went_well=True) == "released"
    assert breaker.allows("p")
    assert _fail(breaker, 10) == [""] * 10, "its record is clean again"


def test_a_trial_that_met_a_bad_file__is_made_again_at_once() -> None:
    clock = _Clock()
    breaker = Breaker(clock)
    _fail(breaker, 11)
    clock.now_s = TRIAL_S
    breaker.begun("p")
    breaker.ended("p", "cut", went_well=None)
    assert breaker.allows("p")


@pytest.mark.usefixtures("no_discovery")
def test_in_a_live_session__what_keeps_failing_is_held_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path
    body = f"import os\n    if not os.path.exists({str(folder / 'mended')!r}): raise ValueError('broken')"
    world = World(folder, n_micrographs=16, stages=("ctf",), body={"ctf": body}, extra={"ctf": "attempts = 2"})
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        for _ in range(300):
            runner.step(0.002)
            if runner.breaker.failing() and runner.resting:
                break
        counts = run.state.task_counts()["ctf"]
        assert counts.get("given_up", 0) < 16, "the rest is kept from harm"
        (folder / "mended").touch()
        assert runner.release("ctf", "mended") == ["stage 'ctf' goes on"]
        while runner.step(0.002):
            pass
        after = run.state.task_counts()["ctf"]
        assert after["done"] == 16 - after.get("given_up", 0) >= 5
        said = [type(event) for event in run.journal.replay() if isinstance(event, (StageHeld, StageReleased))]
        assert said == [StageHeld, StageReleased]


def test_items_that_had_failed_before__are_no_news_of_it() -> None:
    """After a restart those that wait to be tried again come first: they say nothing of the implementation."""
    breaker = Breaker(_Clock())
    for n in range(30):
        assert breaker.ended("p", f"known {n}", went_well=False, again=True) == ""
    assert breaker.allows("p")
    assert _fail(breaker, 11)[-1] == "held"
    assert breaker.ended("p", "known 1", went_well=True, again=True) == "released"


@pytest.mark.usefixtures("no_discovery")
@pytest.mark.parametrize("trouble", ["raise ValueError('short')", "raise Corrupt('short')", "os.kill(0, 0) or 1 / 0"])
def test_a_share_that_goes_while_a_plugin_reads__is_held_against_nobody(tmp_path: Path, trouble: str) -> None:
    raw, away = str(tmp_path / "raw"), str(tmp_path / "away")
    body = f"os.path.exists({raw!r}) and os.rename({raw!r}, {away!r})"
    world = World(tmp_path, n_micrographs=14, stages=("ctf",), body={"ctf": f"{body}; {trouble}"})
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        for _ in range(100):
            runner.step(0.0)
        failed = [event for event in run.journal.replay() if isinstance(event, StageFailed)]
        assert len({event.item_id for event in failed}) == 14
        assert {event.error_class for event in failed} == {"environment"}
        assert all("out of reach" in event.message for event in failed)
        assert not runner.breaker.failing()
        assert "given_up" not in run.state.task_counts()["ctf"]


@pytest.mark.usefixtures("no_discovery")
def test_what_reads_from_a_share_that_is_known_to_be_away__is_not_begun(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=6, stages=("ctf",))
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        runner.away = [world.raw]
        for _ in range(50):
            runner.step(0.001)
        assert run.state.task_counts()["ctf"] == {"queued": 6}
        assert "StageStarted" not in names(run)
        known = run.state.item("m3.mrc")
        assert known is not None
        elsewhere = tmp_path / "m3.mrc"
        (world.raw / "m3.mrc").rename(elsewhere)
        moved = replace(known, path=str(elsewhere))
        run.bus.publish(ItemAdmitted, **{**vars(moved), "facts": dict(moved.facts)})
        runner.admit(moved)
        while "done" not in run.state.task_counts()["ctf"]:
            runner.step(0.005)
        assert run.state.task_counts()["ctf"] == {"queued": 5, "done": 1}, "the one that lies elsewhere now"
        runner.away = [tmp_path / "elsewhere"]
        while runner.step(0.005):
            pass
        assert run.state.task_counts()["ctf"] == {"done": 6}
