"""Files are admitted some at a time, in one transaction; what changed since it was judged is judged anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from watched_session import Watched, admitted, finished, wait_for

from cryoframe.data.ids import digest_file
from cryoframe.errors import EnvironmentFault
from cryoframe.execution.run import Run
from cryoframe.records.events import Event, FileSettled, ItemAdmitted
from cryoframe.records.journal import Journal
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.intake import Intake


def _settled(run: Run) -> list[FileSettled]:
    return [event for event in run.journal.replay() if isinstance(event, FileSettled)]


def test_a_file_that_changes_between_the_last_look_and_its_reading__settles_anew(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = watched.configure(settle_s=1.0)
    path, begin, changed_s = watched.put("a.mrc", 1.0), Intake.begin, list[float]()

    def late(self: Intake, paths: Sequence[Path], kind: str) -> None:
        if not changed_s:
            watched.put("a.mrc", 2.0, box_px=48)
            changed_s.append(time.monotonic())
        begin(self, paths, kind)

    monkeypatch.setattr(Intake, "begin", late)
    with Run.open(config) as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        runner = run.runner(live=True)

        def turn() -> bool:
            daemon._turn(runner)
            return bool(_settled(run))

        wait_for(turn)
        assert time.monotonic() - changed_s[0] >= 1.0
        daemon.close()
        (settled,) = _settled(run)
        assert settled.digest == digest_file(path)


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
