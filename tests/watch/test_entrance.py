"""Files are admitted some at a time, in one transaction; what changed since it was judged is judged anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from watched_session import Watched, admitted, finished, wait_for

from cryoframe.data.ids import digest_file
from cryoframe.errors import EnvironmentFault
from cryoframe.execution.admit import Reading
from cryoframe.execution.run import Run
from cryoframe.records.events import Event, FileSettled, ItemAdmitted
from cryoframe.records.journal import Journal
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.intake import Intake


def _settled(run: Run) -> list[FileSettled]:
    return [event for event in run.journal.replay() if isinstance(event, FileSettled)]


@pytest.mark.parametrize("reading_takes_s", [0.0, 0.6])
def test_a_file_that_changes_after_the_last_look__settles_anew_whenever_its_reading_ends(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, reading_takes_s: float
) -> None:
    config = watched.configure(settle_s=1.2)
    begin, outcome, changed_s = Intake.begin, Intake.outcome, list[float]()
    watched.put("warm.mrc", 9.0)

    def late(self: Intake, paths: Sequence[Path], kind: str) -> None:
        if not changed_s and any(path.name == "a.mrc" for path in paths):
            watched.put("a.mrc", 2.0, box_px=48)
            changed_s.append(time.monotonic())
        begin(self, paths, kind)

    def slow(self: Intake, timeout_s: float) -> Reading | None:
        is_slow = changed_s and time.monotonic() < changed_s[0] + reading_takes_s
        return None if is_slow else outcome(self, timeout_s)

    monkeypatch.setattr(Intake, "begin", late)
    monkeypatch.setattr(Intake, "outcome", slow)
    with Run.open(config) as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        runner = run.runner(live=True)

        def turn(n_settled: int) -> bool:
            daemon._turn(runner)
            return len(_settled(run)) == n_settled

        wait_for(lambda: turn(1))
        path = watched.put("a.mrc", 1.0)
        wait_for(lambda: turn(2))
        assert time.monotonic() - changed_s[0] >= 1.2
        daemon.close()
        assert _settled(run)[1].digest == digest_file(path)


@pytest.mark.slow
def test_many_files__are_admitted_in_few_transactions_and_all_of_a_group_or_none(
    watched: Watched, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_files, groups, refused, append = 60, list[int](), list[int](), Journal.append
    for number in range(n_files):
        watched.put(f"{number:02d}.mrc", float(number))

    def counted(self: Journal, events: Sequence[Event]) -> None:
        n_admitted = sum(isinstance(event, ItemAdmitted) for event in events)
        if n_admitted and not refused:
            refused.append(n_admitted)
            raise EnvironmentFault("the disk is full")
        groups.extend([n_admitted] if n_admitted else [])
        append(self, events)

    monkeypatch.setattr(Journal, "append", counted)
    runner = daemon._run.runner(live=True)
    runner.held = "a test"

    def turn() -> bool:
        daemon._turn(runner)
        return daemon._run.state.file_counts() == {"settled": n_files}

    wait_for(turn)
    assert sum(groups) == n_files
    assert len(groups) <= 12
    assert refused[0] > 1, "a group was refused, and came again"
    runner.held = ""
    wait_for(lambda: not daemon._turn(runner))
    events = list(daemon._run.journal.replay())
    assert len(admitted(events)) == len(set(admitted(events))) == n_files
    assert len(finished(events)) == n_files
