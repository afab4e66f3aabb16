"""What outlives an attempt at a task over the set: a folder for the next attempt; for some, a session."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from run_world import World, digests, names

from cryoframe.execution.checkpoints import CHECKPOINTS

pytestmark = pytest.mark.usefixtures("no_discovery")
STAGES = ("ctf", "pick", "box", "classes")
#: Leaves a file, and fails the first time; what it finds the next time does not enter the product.
RESUMED = """kept = ctx.checkpoint_dir / "round"
    found = kept.exists()
    kept.write_text("1")
    ctx.metric("found", float(found))
    if not found:
        raise EnvironmentFault("the node went away")"""
#: Counts how often it was called on the growing set, into the product.
CARRIED = """kept = ctx.checkpoint_dir / "calls"
    calls = int(kept.read_text()) if kept.exists() else 0
    kept.write_text(str(calls + 1))
    classes["class_score"] = np.full(params.k, float(calls))"""


def carrying(tmp_path: Path, out: str = "out") -> World:
    world = World(tmp_path, stages=STAGES, n_micrographs=6, extra={"classes": "every = 2"}, workers=1, out=out)
    world.body["classes"] = CARRIED
    return world


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes are made by a module that says that it carries on."""
    written = World.write

    def write(world: World) -> Path:
        path, plugin = written(world), world.folder / "classes.py"
        plugin.write_text(plugin.read_text(encoding="utf-8") + "\nCARRIES_ON = True\n", encoding="utf-8")
        return path

    monkeypatch.setattr(World, "write", write)


def scores(run, world: World, order: list[int]) -> list[float]:
    """Score of the first class after each micrograph of a session, and at its end."""
    runner = run.runner(live=True)
    found = []

    def look() -> None:
        tasks = run.state.tasks("classes", "done")
        found.append(float(run.store.load("classes", tasks[0].key).classes.floats("class_score")[0]) if tasks else -1.0)

    for number in order:
        run.admit_file(world.raw / f"m{number}.mrc", "Micrograph", root=world.raw)
        while runner.step():
            pass
        look()
    runner.live = False
    runner.run_until_idle()
    look()
    return found


def test_next_attempt__finds_what_the_last_one_left_and_a_finished_task_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, stages=STAGES, body={"classes": RESUMED})
    with world.open() as run:
        assert run.execute()["classes"] == {"done": 1}
        told = [event for event in run.journal.replay() if type(event).__name__ == "MetricReported"]
        assert [event.value for event in told if event.name == "found"] == [0.0, 1.0]  # type: ignore[attr-defined]
        assert names(run).count("StageFailed") == 1
        assert list((run.folder / CHECKPOINTS).iterdir()) == []


def test_folder__is_private_and_of_this_task(tmp_path: Path) -> None:
    world = World(tmp_path, stages=STAGES, body={"classes": RESUMED.replace("if not found", "if True")})
    with world.open() as run:
        assert run.execute()["classes"] == {"given_up": 1}
        key = run.state.tasks("classes")[0].key
        folder = run.folder / CHECKPOINTS / "classes" / key
        assert (folder / "round").is_file()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [path.name for path in (run.folder / CHECKPOINTS).iterdir()] == ["classes"]


def test_folder_of_a_task_given_up__is_there_for_a_retry_and_goes_when_the_stage_is_tried_with_another_set(
    tmp_path: Path,
) -> None:
    failing = {"classes": RESUMED.replace("if not found", "if True")}
    with World(tmp_path, stages=STAGES, body=failing).open() as run:
        run.execute()
        first = run.state.tasks("classes")[0].key
        run.retry()
        run.runner().run_until_idle()
        found = [event for event in run.journal.replay() if type(event).__name__ == "MetricReported"]
        told = [event.value for event in found if event.name == "found"]  # type: ignore[attr-defined]
        assert told[0] == 0.0
        assert set(told[1:]) == {1.0}, "an attempt did not find what the last one left"
        carried = run.folder / CHECKPOINTS / "classes" / "so-far-1"
        carried.mkdir()
    with World(tmp_path, stages=STAGES, body=failing, n_micrographs=4).open() as run:
        run.execute()
        second = run.state.tasks("classes")[0].key
        assert second != first
        assert {path.name for path in (run.folder / CHECKPOINTS / "classes").iterdir()} == {second, carried.name}


def test_stage_that_does_not_declare_it__is_never_given_what_was_left_of_another_set(tmp_path: Path) -> None:
    world = carrying(tmp_path)
    with world.open() as run:
        assert scores(run, world, [0, 1, 2, 3, 4, 5]) == [-1, 0, 0, 0, 0, 0, 0]


@pytest.mark.usefixtures("declared")
def test_stage_that_carries_on__does_so_while_items_arrive_and_begins_anew_at_the_end(tmp_path: Path) -> None:
    ends = []
    for number, order in enumerate(([0, 1, 2, 3, 4, 5], [5, 2, 0, 1, 4, 3])):
        world = carrying(tmp_path, f"out{number}")
        with world.open() as run:
            # The set of six was seen at the fourth live run already: the last run is of another key nevertheless.
            assert scores(run, world, order) == [-1, 0, 0, 1, 1, 2, 0]
            ends.append(digests(run))
            assert not (run.folder / CHECKPOINTS / "classes").exists()
            done = [event for event in run.journal.replay() if type(event).__name__ == "StageFinished"]
            keys = [event.key for event in done if event.stage_id == "classes"]  # type: ignore[attr-defined]
            assert [bool(run.store.job("classes", key).get("so_far")) for key in keys] == [True] * 3 + [False]
    assert ends[0] == ends[1]


@pytest.mark.usefixtures("declared")
def test_session_that_is_opened_again__is_content_with_what_was_made_of_the_whole_set(tmp_path: Path) -> None:
    world = carrying(tmp_path)
    with world.open() as run:
        scores(run, world, [0, 1, 2, 3, 4, 5])
    with world.open() as run:
        before = names(run).count("StageStarted")
        runner = run.runner(live=True)
        while runner.step():
            pass
        assert names(run).count("StageStarted") == before


@pytest.mark.usefixtures("declared")
def test_attempts_of_a_growing_set__are_never_two_at_once(tmp_path: Path) -> None:
    world = World(
        tmp_path, stages=STAGES, n_micrographs=4, extra={"classes": "every = 2"}, workers=3, executor="processes"
    )
    world.body["classes"] = """busy = ctx.checkpoint_dir / "busy"
    ctx.metric("overlap", float(busy.exists()))
    busy.write_text("1")
    time.sleep(2.0)
    busy.unlink()"""
    with world.open() as run:
        runner = run.runner(live=True)

        def admit(numbers: tuple[int, ...]) -> None:
            for number in numbers:
                run.admit_file(world.raw / f"m{number}.mrc", "Micrograph", root=world.raw)

        admit((0, 1))
        while ("classes", "set") not in runner.running():
            runner.step(0.1)
        admit((2, 3))
        while runner.step(0.1):
            pass
        runner.live = False
        runner.run_until_idle()
        (task,) = run.state.tasks("classes")
        told = [event for event in run.journal.replay() if type(event).__name__ == "MetricReported"]
        overlaps = [event.value for event in told if event.name == "overlap"]  # type: ignore[attr-defined]
        assert overlaps
        assert not any(overlaps)
        assert "StageFailed" not in names(run)
        assert not run.store.job("classes", task.key).get("so_far")
