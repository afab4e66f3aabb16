"""A runner killed at any moment: nothing is lost, nothing is done twice, the products are those of a quiet run."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_world import World, digests

from cryoframe.records import crash

pytestmark = pytest.mark.usefixtures("no_discovery")
WORLD = {"stages": ["ctf", "pick", "box", "classes"], "n_micrographs": 3}
#: Not passed in an undisturbed run: they belong to repair and to races, which tests of journal and store provoke.
UNUSUAL = {
    "journal.rebuild_dropped",
    "journal.rebuild_folded",
    "store.lost_race",
    "store.set_aside",
    "store.before_sweep",
}
POINTS = sorted({*crash.JOURNAL_POINTS, *crash.STORE_POINTS, *crash.RUNNER_POINTS} - UNUSUAL)
Kill = Callable[..., int]


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    """Run a world in a child process that dies at a named place, or after some seconds; returns its exit code."""
    driver = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed_runs.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None

    def run(folder: Path, *, at: str = "", after_s: float = 0.0, **world: object) -> int:
        environment = {crash.VARIABLE: at} if at else {}
        order = {"folder": str(folder), "world": {**WORLD, **world}, "environment": environment, "kill_s": after_s}
        driver.stdin.write(json.dumps(order) + "\n")  # type: ignore[union-attr]
        driver.stdin.flush()  # type: ignore[union-attr]
        return int(driver.stdout.readline())  # type: ignore[union-attr]

    yield run
    driver.stdin.close()
    driver.wait(timeout=20)
    driver.stdout.close()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of an undisturbed run."""
    with _world(tmp_path_factory.mktemp("quiet")).open() as run:
        run.execute()
        return digests(run)


def _world(folder: Path, **more: object) -> World:
    return World(folder, **{**WORLD, **more, "stages": tuple(WORLD["stages"])})  # type: ignore[arg-type]


def _assert_whole(folder: Path, quiet: dict[str, str], **more: object) -> None:
    """Finish the run, and compare everything with the quiet one."""
    with _world(folder, **more).open() as run:
        counts = run.execute()
        assert counts == {"ctf": {"done": 3}, "pick": {"done": 3}, "box": {"done": 3}, "classes": {"done": 1}}
        assert digests(run) == quiet
        events = list(run.journal.replay())
        done = Counter(
            (event.stage_id, event.item_id)  # type: ignore[attr-defined]
            for event in events
            if type(event).__name__ in ("StageFinished", "StageSkipped")
        )
        assert set(done.values()) == {1}
        assert len(done) == 10
        assert sum(type(event).__name__ == "ItemAdmitted" for event in events) == 3
        assert not any(type(event).__name__ in ("StageGivenUp", "StageFailed") for event in events)
        assert run.store.verify() == []
        assert run.store.sweep() == 0
        assert len(list((run.folder / "stages").glob("*/*"))) == 10
        assert not run.state.interrupted()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_place__the_run_is_finished_as_if_nothing_had_been(
    tmp_path: Path, quiet: dict[str, str], kill: Kill, point: str
) -> None:
    assert kill(tmp_path, at=point) == 137
    kill(tmp_path, at=f"{point}:3")
    _assert_whole(tmp_path, quiet)


def test_killed_while_it_sweeps__the_next_one_sweeps(tmp_path: Path, quiet: dict[str, str], kill: Kill) -> None:
    assert kill(tmp_path, at="store.renamed:2") == 137
    assert kill(tmp_path, at="store.scratch_made:5") == 137
    assert kill(tmp_path, at="store.before_sweep") == 137
    _assert_whole(tmp_path, quiet)


def test_killed_again_and_again_at_random__the_run_is_finished_as_if_nothing_had_been(
    tmp_path: Path, quiet: dict[str, str], kill: Kill
) -> None:
    chance = random.Random(11)
    for _ in range(12):
        kill(tmp_path, after_s=chance.uniform(0.05, 0.8), executor="processes")
    _assert_whole(tmp_path, quiet, executor="processes")
