"""The wall clock may jump and every hint be lost: nothing is missed, early or twice; what is complete is known."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from watched_session import Watched, admitted, drive, finished, mrc_bytes, rescan, wait_for

from cryoframe.execution.run import Run
from cryoframe.records.session_events import Reconciled
from cryoframe.watch import wakeup
from cryoframe.watch.daemon import Daemon

HOUR_S = 3600.0


def test_a_clock_that_jumps_by_hours_and_years__makes_no_file_early_late_or_twice(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, real_ns = random.Random(3), time.time_ns
    jumps_s = [0.0, HOUR_S, -HOUR_S, 5 * 365 * 24 * HOUR_S, -5 * 365 * 24 * HOUR_S, -300.0]

    def jumping_ns() -> int:
        return real_ns() + int(1e9 * chance.choice(jumps_s))

    monkeypatch.setattr(time, "time_ns", jumping_ns)
    monkeypatch.setattr(time, "time", lambda: jumping_ns() / 1e9)
    watched.configure(settle_s=0.3, poll_s=0.1)
    whole = mrc_bytes(watched.folder)

    def land() -> None:
        for number in range(5):
            path = watched.land / f"slow{number}.mrc"
            path.write_bytes(whole[:2000])
            time.sleep(0.15)  # less than the settling time: by the wall clock it may be years
            path.write_bytes(whole[:-1] + bytes([number]))

    events = watched.session_with(land)
    assert sorted(admitted(events)) == [f"slow{number}.mrc" for number in range(5)]
    assert set(finished(events).values()) == {1}
    assert watched.counts == {"settled": 5}
    ids = [event.event_id for event in events]
    assert ids == sorted(set(ids)), "the log keeps its order"


def test_an_observer_that_drops_everything__costs_time_only(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    n_hints = []
    monkeypatch.setattr(wakeup._Raise, "on_any_event", lambda self, event: n_hints.append(event))
    watched.configure(poll_s=0.3, observer="native")

    def land() -> None:
        wait_for(lambda: bool(watched.ticks))  # the observer is at work
        for number in range(20):
            watched.put(f"{number}/{number}.mrc", float(number))

    events = watched.session_with(land, 1.5)
    assert n_hints, "there were hints to lose"
    assert len(admitted(events)) == len(set(admitted(events))) == 20
    assert set(finished(events).values()) == {1}


def test_the_next_rescan__is_due_whether_hints_are_heard_or_not(daemon: Daemon) -> None:
    rescan(daemon)
    (one,) = daemon.rescans.rounds
    took_s = time.monotonic() - one.last_s + 10.0
    assert daemon._wakeup.note == "", "hints are heard"
    assert one.next_s <= one.last_s + daemon._config.poll_s + 3.0 * took_s


@pytest.mark.slow
def test_the_kernels_own_queue_overflows_while_the_daemon_is_stopped__the_rescan_finds_all(watched: Watched) -> None:
    import signal

    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 40_000:
        pytest.skip(f"the queue holds {most} events; it would take too long to fill")
    watched.configure(poll_s=1.0, observer="native")
    process = drive(watched, "3.0")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    junk = watched.land / "junk"
    for number in range(most // 2 + 100):  # each is created and closed
        (watched.land / f"{number}.txt").touch()
    junk.mkdir()
    for number in range(20):
        watched.put(f"junk/{number}.mrc", float(number))
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    with Run.open(watched.folder / "run.toml") as run:
        events = list(run.journal.replay())
        counts = run.state.file_counts()
    assert len(admitted(events)) == len(set(admitted(events))) == 20
    assert counts == {"ignored": most // 2 + 100, "settled": 20}


def test_the_watermark__is_stored_goes_on_with_the_next_process_and_promises_no_more_than_was_seen(
    watched: Watched,
) -> None:
    before = datetime.now(UTC)
    watched.put("a.mrc")
    first = watched.session()
    with Run.open(watched.folder / "run.toml") as run:
        (mark,) = run.state.watermarks()
        run.journal.rebuild()
        assert run.state.watermarks() == [mark], "it is folded from the log"
    assert (mark.root, mark.n_files) == (str(watched.land), 1)
    assert 0 <= (datetime.fromisoformat(mark.up_to_utc) - before).total_seconds() + 1.0 < 60.0
    marks = [event for event in first if isinstance(event, Reconciled)]
    assert len(marks) <= 4, "it is said when something changes, not at each rescan"
    assert all(event.up_to_utc <= event.time_utc for event in marks), "what landed since the scan began is not in it"
    watched.put("b.mrc", 2.0)
    watched.session()
    with Run.open(watched.folder / "run.toml") as run:
        (later,) = run.state.watermarks()
    assert later.n_files == 2
    assert later.generation > mark.generation
