"""Trouble while files are admitted in groups: a full disk in between, a change while one is read, a lost twin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from watched_session import Watched, rescan

from cryoframe.errors import EnvironmentFault, Incomplete
from cryoframe.execution.run import Run
from cryoframe.records.events import Event, FileDuplicate, ItemAdmitted
from cryoframe.records.journal import Journal
from cryoframe.watch import intake
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.rescans import Round

MDOC = "PixelSpacing = 1.0\nVoltage = 300\n\n[FrameSet = 0]\nPixelSpacing = 1.0\n"


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    session = Watched(tmp_path)
    config = session.configure(settle_s=0.3, poll_s=0.1)
    config.write_text(config.read_text().replace("[watch]", '[watch]\nmetadata = "optional"\nmetadata_timeout_s = 0.5'))
    return session


@pytest.fixture
def daemon(watched: Watched) -> Iterator[Daemon]:
    run = Run.open(watched.folder / "run.toml")
    daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
    yield daemon
    daemon.close()
    run.close()


def turn_until(daemon: Daemon, ended: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Let the daemon turn, and endure trouble as it does."""
    runner, end_s = daemon._run.runner(live=True), time.monotonic() + limit_s
    runner.held = "only landing is looked at"
    while not ended() and time.monotonic() < end_s:
        try:
            daemon._turn(runner)
        except EnvironmentFault as error:
            daemon._endure(error)
    assert ended()


def settled(daemon: Daemon) -> int:
    return daemon._run.state.file_counts().get("settled", 0)


def refuse(monkeypatch: pytest.MonkeyPatch, when: Callable[[Sequence[Event]], bool]) -> None:
    """Let the journal refuse the first events of which that is true."""
    append, refused = Journal.append, []

    def full(journal: Journal, made: Sequence[Event]) -> None:
        if not refused and when(made):
            refused.append(made)
            raise EnvironmentFault("no space left")
        append(journal, made)

    monkeypatch.setattr(Journal, "append", full)


def test_a_full_disk_between_two_parts_of_a_group__keeps_what_the_journal_has(watched, daemon, monkeypatch) -> None:
    for name, value in (("a.mrc", 5.0), ("b.mrc", 5.0), ("c.mrc", 6.0)):
        watched.put(name, value)  # b is a copy of a
    refuse(monkeypatch, lambda made: any(isinstance(event, FileDuplicate) for event in made))
    turn_until(daemon, lambda: daemon._run.state.file_counts() == {"settled": 2, "duplicate": 1})
    daemon.check_arithmetic()
    assert {item.item_id.translate({ord("b"): "a"}) for item in daemon._run.state.items()} == {"a.mrc", "c.mrc"}


def test_a_full_disk_in_the_middle_of_a_scan__leaves_no_file_unknown(watched, daemon, monkeypatch) -> None:
    for number in range(2500):
        (watched.land / f"f{number:05}.mrc").write_bytes(b"x")
    pages = []
    refuse(monkeypatch, lambda made: pages.append(made) or len(pages) == 2)  # type: ignore[func-returns-value]
    with pytest.raises(EnvironmentFault, match="no space"):
        rescan(daemon)
    daemon._outbox.flush()
    rescan(daemon)
    assert len(daemon.roots[0].entries) == 2500
    assert sum(daemon._run.state.file_counts().values()) == 2500


def test_slow_files__are_read_once(watched, daemon, monkeypatch) -> None:
    begin, outcome, begun, since = intake.Intake.begin, intake.Intake.outcome, [], [0.0]

    def noted(self: intake.Intake, paths: Sequence[Path], kind: str) -> None:
        begun.extend(path.name for path in paths)
        since[0] = time.monotonic()
        begin(self, paths, kind)

    def late(self: intake.Intake, timeout_s: float) -> intake.Reading | None:
        return None if time.monotonic() < since[0] + 0.4 else outcome(self, max(timeout_s, 1.0))

    monkeypatch.setattr(intake.Intake, "begin", noted)
    monkeypatch.setattr(intake.Intake, "outcome", late)
    for number in range(3):
        watched.put(f"m{number}.mrc", float(number))
    turn_until(daemon, lambda: settled(daemon) == 3 and not daemon._entrances[0].is_reading)
    assert sorted(begun) == ["m0.mrc", "m1.mrc", "m2.mrc"]


def test_a_file_that_changed_while_it_was_read__is_not_refused_for_what_it_was(watched, daemon, monkeypatch) -> None:
    outcome, scanned, step = intake.Intake.outcome, daemon._scanned, ["before"]
    watched.put("a.mrc", 1.0)

    def torn(self: intake.Intake, timeout_s: float) -> intake.Reading | None:
        if step[0] == "before":
            watched.put("a.mrc", 2.0, box_px=48)
            step[0] = "changed"
        if step[0] == "changed":
            return None
        if step[0] == "seen":
            step[0] = "after"
            outcome(self, 30.0)
            raise Incomplete("it changed while it was read", path=watched.land / "a.mrc")
        return outcome(self, timeout_s)

    def seen(one: Round) -> None:
        scanned(one)
        step[0] = "seen" if step[0] == "changed" else step[0]

    monkeypatch.setattr(intake.Intake, "outcome", torn)
    monkeypatch.setattr(daemon, "_scanned", seen)
    turn_until(daemon, lambda: settled(daemon) == 1)
    assert step == ["after"]


def test_a_side_car_that_comes_while_its_movie_is_read__is_not_missed(watched, daemon, monkeypatch) -> None:
    outcome, scanned, step = intake.Intake.outcome, daemon._scanned, ["before"]
    watched.put("a.mrc", 1.0)

    def slow(self: intake.Intake, timeout_s: float) -> intake.Reading | None:
        if step[0] == "before":
            (watched.land / "a.mrc.mdoc").write_text(MDOC)
            step[0] = "landed"
        return None if step[0] == "landed" else outcome(self, timeout_s)

    def seen(one: Round) -> None:
        scanned(one)
        step[0] = "seen" if step[0] == "landed" else step[0]

    monkeypatch.setattr(intake.Intake, "outcome", slow)
    monkeypatch.setattr(daemon, "_scanned", seen)
    turn_until(daemon, lambda: settled(daemon) == 1)
    (item,) = [event for event in daemon._run.journal.replay() if isinstance(event, ItemAdmitted)]
    assert step == ["seen"]
    assert "metadata_missing" not in item.facts
    assert item.facts["voltage_kV"] == 300


def test_a_twin_out_of_reach__keeps_no_other_file_out(watched, daemon, monkeypatch) -> None:
    watched.put("first.mrc", 1.0)
    turn_until(daemon, lambda: settled(daemon) == 1)

    def away(self: intake.Intake, path: Path) -> bool:
        raise EnvironmentFault(f"{path} cannot be reached")

    monkeypatch.setattr(intake.Intake, "exists", away)
    watched.put("copy.mrc", 1.0)
    for number in range(5):
        watched.put(f"m{number}.mrc", 10.0 + number)
    turn_until(daemon, lambda: settled(daemon) == 6)
    assert daemon._run.state.file_counts()["seen"] == 1


def test_names_as_the_pipe_has_them__bound_a_group(watched, daemon, monkeypatch) -> None:
    begin, sizes = intake.Intake.begin, []
    monkeypatch.setattr(
        intake.Intake, "begin", lambda self, paths, kind: sizes.append(len(paths)) or begin(self, paths, kind)
    )
    for number in range(40):
        watched.put(f"{'ж' * 120}{number}.mrc", float(number))
    turn_until(daemon, lambda: settled(daemon) == 40)
    # A letter beyond ASCII is six bytes there; a pipe holds 64 KiB.
    assert max(sizes) * 120 * 6 < 60_000
