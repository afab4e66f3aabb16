"""Attempts killed at random, all processes stopped beyond a deadline, an item that always kills what runs it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from run_world import World

pytestmark = pytest.mark.usefixtures("no_discovery")
DRIVER = """\
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from run_world import World
World(Path(sys.argv[1]), executor="processes", workers=2, n_micrographs=6, body={body!r}, extra={extra!r}).execute()
"""


def _finished(world: World) -> tuple[Counter[tuple[str, str]], dict[str, dict[str, int]], list[str]]:
    with world.open() as run:
        events = list(run.journal.replay())
        assert run.store.verify() == []
        counts = run.state.task_counts()
    done = Counter(
        (event.stage_id, event.item_id)  # type: ignore[attr-defined]
        for event in events
        if type(event).__name__ == "StageFinished"
    )
    return done, counts, [type(event).__name__ for event in events]


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


@pytest.mark.parametrize(("n_kills", "n_items"), [(15, 12)])
def test_attempts_killed_at_random__are_made_again_and_each_effect_is_one(
    tmp_path: Path, n_kills: int, n_items: int, figure: Callable[[str, object], None]
) -> None:
    mark = f"Path({str(tmp_path)!r}, f'pid{{os.getpid()}}').touch(); time.sleep(0.08)"
    world = World(
        tmp_path, executor="processes", workers=2, n_micrographs=n_items, body={"ctf": mark, "pick": mark},
        extra={"ctf": "attempts = 100", "pick": "attempts = 100"},
    )  # fmt: skip
    chance, killed, stop = random.Random(4), [], threading.Event()

    def kill() -> None:
        while len(killed) < n_kills and not stop.is_set():
            time.sleep(chance.uniform(0.01, 0.1))
            fresh = [path for path in tmp_path.glob("pid*") if path.name not in killed]
            for path in fresh[-1:]:
                killed.append(path.name)
                try:
                    os.kill(int(path.name[3:]), signal.SIGKILL)
                except ProcessLookupError:
                    killed.remove(path.name)
                    path.unlink()

    thread = threading.Thread(target=kill)
    thread.start()
    world.execute()
    stop.set()
    thread.join()
    done, counts, names = _finished(world)
    assert counts == {"ctf": {"done": n_items}, "pick": {"done": n_items}}
    assert set(done.values()) == {1}
    assert names.count("StageStarted") <= 2 * n_items + len(killed), "as many repetitions as kills, at most"
    # Some had done their work when they were killed.
    assert n_kills // 2 <= names.count("StageFailed") <= len(killed)
    figure("attempts killed at random, effects lost or twice", f"{names.count('StageFailed')}, 0")


def test_a_machine_suspended_for_longer_than_a_deadline__does_nothing_twice_and_gives_nothing_up(
    tmp_path: Path,
) -> None:
    body = {"ctf": "time.sleep(0.3)"}
    extra = {"ctf": "timeout_s = 2.0\nattempts = 3"}
    code = DRIVER.format(here=str(Path(__file__).parent), body=body, extra=extra)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    world = World(tmp_path, executor="processes", workers=2, n_micrographs=6, body=body, extra=extra)
    try:
        until_s = time.monotonic() + 20
        while len(list((tmp_path / "out" / "stages").glob("ctf/*"))) < 1:
            assert time.monotonic() < until_s
            time.sleep(0.02)
        members = _family(process.pid)
        assert len(members) >= 3, "the runner, its helpers, an attempt"
        for order in (signal.SIGSTOP, signal.SIGCONT):
            for member in members:
                with suppress(ProcessLookupError):  # it had done its work, and was buried before the others stopped
                    os.kill(member, order)
            time.sleep(2.5 if order == signal.SIGSTOP else 0.0)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    done, counts, names = _finished(world)
    assert counts == {"ctf": {"done": 6}, "pick": {"done": 6}}
    assert set(done.values()) == {1}
    assert "StageGivenUp" not in names


@pytest.mark.parametrize(
    ("victim", "n_attempts"),
    [("os.getpid()", 3), ("os.getppid()", 8)],  # a helper's death may be anybody's fault: trouble of the machine
    ids=["its own process", "its helper"],
)
def test_an_item_that_always_kills_what_runs_it__is_set_aside_and_the_others_are_done(
    tmp_path: Path, victim: str, n_attempts: int
) -> None:
    body = {"ctf": f"if micrograph.micrograph_id == 'm1.mrc': os.kill({victim}, 9); time.sleep(30)"}
    with World(tmp_path, executor="processes", workers=2, n_micrographs=8, body=body).open() as run:
        counts = run.execute()
        started = Counter(
            event.item_id  # type: ignore[attr-defined]
            for event in run.journal.replay()
            if type(event).__name__ == "StageStarted" and event.stage_id == "ctf"  # type: ignore[attr-defined]
        )
        (task,) = run.state.tasks(status="given_up")
    assert counts == {"ctf": {"done": 7, "given_up": 1}, "pick": {"done": 7}}
    assert task.item_id == "m1.mrc"
    assert task.message
    assert started["m1.mrc"] == n_attempts
