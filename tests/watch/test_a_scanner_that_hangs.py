"""A share that hangs costs its own root time and then an outage; the daemon, its tasks and the other roots nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watched_session import Watched, wait_for

from cryoframe.execution import control
from cryoframe.execution.control import Request
from cryoframe.execution.run import Run
from cryoframe.watch.daemon import Daemon, RootFound, RootLost
from cryoframe.watch.guard import DiskGuard

#: Long beside what a turn takes, and short beside what a hanging scanner is given.
A_LONG_TURN_S = 15.0


class Turning:
    """A daemon of two roots, turned by hand; how long its longest turn took."""

    def __init__(self, watched: Watched, run: Run) -> None:
        self.watched, self.run = watched, run
        self.daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        self.runner, self.longest_s = run.runner(live=True), 0.0

    def until(self, condition: Callable[[], bool]) -> None:
        def turned() -> bool:
            start_s = time.monotonic()
            self.daemon._turn(self.runner)
            self.longest_s = max(self.longest_s, time.monotonic() - start_s)
            return condition()

        wait_for(turned, 120.0)

    def is_done(self, folder: str, n_files: int) -> bool:
        root = os.fspath(self.watched.folder / folder)
        settled = self.run.state.file_counts(root).get("settled", 0)
        return settled == n_files and not self.runner.running() and "queued" not in self.run.state.task_counts()["ctf"]

    @contextlib.contextmanager
    def hanging(self, number: int) -> Iterator[None]:
        """Stop the scanner of a root, as one is that waits for a share."""
        process = self.daemon.roots[number].scanner._child._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            self.longest_s = 0.0
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it was given up
                os.kill(process.pid, signal.SIGCONT)


@pytest.fixture
def turning(watched: Watched) -> Iterator[Turning]:
    path = watched.configure(settle_s=0.1, poll_s=0.1, observer="polling")
    path.write_text(path.read_text().replace('folder = "land"', 'folders = ["land", "other"]'))
    (watched.folder / "other").mkdir()
    with Run.open(path) as run:
        made = Turning(watched, run)
        watched.put("first.mrc", 1.0)
        made.until(lambda: made.is_done("land", 1) and all(one.n_over for one in made.daemon.rescans.rounds))
        yield made
        made.daemon.close()


@pytest.mark.parametrize("what", ["scan", "look"])
def test_while_one_root_hangs__the_other_is_watched_worked_on_and_requests_are_obeyed(
    turning: Turning, what: str
) -> None:
    root, put = turning.daemon.roots[0], turning.watched.put
    if what == "look":
        put("slow.mrc", 2.0)
        turning.until(lambda: "slow.mrc" in root.entries and not root.is_asked)
        turning.daemon.rescans.rounds[0].next_s = float("inf")
    with turning.hanging(0):
        if what == "scan":
            put("slow.mrc", 2.0)
        turning.until(lambda: root.is_silent)
        assert root._asked == what
        for number in range(5):
            put(f"../other/{number}.mrc", 10.0 + number)
        turning.until(lambda: turning.is_done("other", 5))
        control.ask(turning.run.folder, Request("pause", "a person"))
        turning.until(lambda: bool(turning.runner.held))
        control.ask(turning.run.folder, Request("resume", "a person"))
        turning.until(lambda: not turning.runner.held)
        assert (root.is_silent, root.offline, turning.is_done("land", 2)) == (True, "", False)
        turning.daemon.check_arithmetic()
        marks = {Path(mark.root).name: mark.generation for mark in turning.run.state.watermarks()}
        assert marks["other"] > marks["land"], "what hangs is not said to be complete"
    turning.daemon.rescans.now()
    turning.until(lambda: turning.is_done("land", 2))
    assert turning.longest_s < A_LONG_TURN_S


def test_one_that_hangs_for_too_long__is_given_up_and_its_root_is_away_until_it_answers(turning: Turning) -> None:
    root = turning.daemon.roots[0]
    root.scanner._child._deadline_s = 1.0
    with turning.hanging(0):
        turning.until(lambda: bool(root.offline))
        assert "no answer" in root.offline
    turning.watched.put("second.mrc", 2.0)
    turning.until(lambda: turning.is_done("land", 2))
    said = [type(event) for event in turning.run.journal.replay() if isinstance(event, (RootLost, RootFound))]
    assert said == [RootLost, RootFound]
    assert turning.longest_s < A_LONG_TURN_S


def test_a_session_does_not_end_by_itself__while_a_root_hangs(turning: Turning) -> None:
    idle = [turning.daemon._is_idle(0.3)]
    with turning.hanging(0):
        turning.until(lambda: turning.daemon.roots[0].is_silent)
        until_s = time.monotonic() + 1.0
        turning.until(lambda: idle.append(turning.daemon._is_idle(0.3)) or time.monotonic() > until_s)  # type: ignore[func-returns-value]
        assert not any(idle[1:])
    turning.until(lambda: turning.daemon._is_idle(0.3))


def test_pages_of_a_large_rescan__are_taken_between_other_things_and_count_once_all_are_in(turning: Turning) -> None:
    n_files = 9000
    folder = turning.watched.folder / "other"
    for number in range(n_files):
        (folder / f"{number}.txt").touch()
    before = turning.daemon.rescans.rounds[1].n_over
    sizes: list[int] = []
    turning.until(
        lambda: (
            sizes.append(len(turning.daemon.roots[1].entries))  # type: ignore[func-returns-value]
            or (sizes[-1] == n_files and turning.daemon.rescans.rounds[1].n_over > before)
        )
    )
    marks = {Path(mark.root).name: mark.n_files for mark in turning.run.state.watermarks()}
    assert marks["other"] == n_files
    assert turning.run.state.file_counts(os.fspath(folder)) == {"ignored": n_files}
