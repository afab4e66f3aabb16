"""The database is replaced by an older copy, loses its side files or its log is cut: work that was done stays done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from run_world import World, digests

pytestmark = pytest.mark.usefixtures("no_discovery")


def _quiet(folder: Path) -> dict[str, str]:
    with World(folder, out="quiet").open() as run:
        run.execute()
        return digests(run)


def _assert_taken_up(world: World, wanted: dict[str, str]) -> None:
    with world.open() as run:
        n_before = len([event for event in run.journal.replay() if type(event).__name__ == "StageStarted"])
        assert run.execute() == {"ctf": {"done": 3}, "pick": {"done": 3}}
        assert digests(run) == wanted
        names = Counter(type(event).__name__ for event in run.journal.replay())
        assert names["StageStarted"] == n_before, "nothing is computed twice"
        assert run.store.verify() == []


def test_a_database_replaced_by_an_older_copy__finds_what_the_store_has(tmp_path: Path) -> None:
    wanted = _quiet(tmp_path)
    world = World(tmp_path)
    with world.open() as run:
        run.admit_inputs()
    shutil.copy(tmp_path / "out" / "state.sqlite", tmp_path / "older.sqlite")
    world.execute()
    shutil.copy(tmp_path / "older.sqlite", tmp_path / "out" / "state.sqlite")
    _assert_taken_up(world, wanted)


@pytest.mark.parametrize("frac", [0.0, 0.5, 0.99])
def test_a_write_ahead_log_cut_short_after_a_kill__loses_no_product(tmp_path: Path, frac: float) -> None:
    wanted = _quiet(tmp_path)
    world = World(tmp_path)
    world.write()
    code = (
        f"import os, sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path\n"
        f"from run_world import World\n"
        f"with World(Path({str(tmp_path)!r})).open() as run:\n    run.execute(); print('done', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    log = tmp_path / "out" / "state.sqlite-wal"
    size = log.stat().st_size
    assert size > 0
    os.truncate(log, int(size * frac))
    (tmp_path / "out" / "state.sqlite-shm").unlink(missing_ok=True)
    _assert_taken_up(world, wanted)
