"""A session outlives its folder of attempts: removed by somebody, or on a share that is away for a while."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from run_world import World

from cryoframe.execution.room import shortage

pytestmark = pytest.mark.usefixtures("no_discovery")


def test_a_folder_of_attempts_that_somebody_removed__is_made_again_and_nothing_is_lost(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=4, workers=1)
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        while not run.state.task_counts().get("ctf", {}).get("done"):
            runner.step(0.01)
        shutil.rmtree(run.folder / "scratch")
        while runner.step(0.01):
            pass
        assert run.state.task_counts() == {"ctf": {"done": 4}, "pick": {"done": 4}}


def test_products_on_a_share_that_is_away__are_a_pause(tmp_path: Path) -> None:
    share = tmp_path / "share"
    world = World(tmp_path, n_micrographs=3, workers=1)
    with world.open() as run:
        share.mkdir()
        (run.folder / "scratch").rmdir()
        (run.folder / "scratch").symlink_to(share / "scratch")
        (share / "scratch").mkdir()
        runner = run.runner(live=True)
        run.admit_inputs()
        share.rename(tmp_path / "away")
        for _ in range(5):
            assert runner.step(0.01)
        assert "is not there" in runner.paused
        assert run.state.task_counts() == {"ctf": {"queued": 3}}
        (tmp_path / "away").rename(share)
        while runner.step(0.01):
            pass
        assert runner.paused == ""
        assert run.state.task_counts() == {"ctf": {"done": 3}, "pick": {"done": 3}}


def test_room__is_asked_for_where_attempts_are_made(tmp_path: Path) -> None:
    assert shortage(tmp_path / "scratch", 0.0, was_short=False) == ""
    assert "MB are free" in shortage(tmp_path / "scratch", 1e12, was_short=False)
    assert "is not there" in shortage(tmp_path / "nowhere" / "scratch", 0.0, was_short=False)
