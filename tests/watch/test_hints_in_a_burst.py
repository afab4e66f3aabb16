"""In a burst hints tell nothing that is not known: nobody listens for a while, and nothing is found later for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from watched_session import Watched, admitted, rescan, wait_for

from cryoframe.watch.daemon import Daemon
from cryoframe.watch.rescans import HINTS_APART
from cryoframe.watch.wakeup import BURST, REST_S, Wakeup


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wakeup(tmp_path: Path, clock: Clock) -> Wakeup:
    return Wakeup([tmp_path], "native", clock=clock)


def _heard(wakeup: Wakeup, folder: Path, name: str) -> bool:
    wakeup.wait(0.0)
    (folder / name).write_text("1")
    return wakeup.wait(5.0)


def test_after_a_burst__nobody_listens_for_a_while_and_a_rescan_is_always_due(
    wakeup: Wakeup, clock: Clock, tmp_path: Path
) -> None:
    wakeup.tend()
    assert _heard(wakeup, tmp_path, "first")
    for number in range(2 * BURST):
        (tmp_path / f"{number}.mrc").write_text("1")
    wait_for(lambda: wakeup._hear.n_hints >= BURST)
    clock.now_s += 1.0
    wakeup.tend()
    assert wakeup.is_resting
    assert wakeup._observer is None
    assert wakeup.wait(0.0), "it stands for the hints that are not heard"
    clock.now_s += REST_S + 0.1
    assert not wakeup.wait(0.0)
    wakeup.tend()
    assert not wakeup.is_resting
    assert _heard(wakeup, tmp_path, "last")
    wakeup.close()


def test_many_hints_over_a_long_time__are_no_burst(wakeup: Wakeup, clock: Clock, tmp_path: Path) -> None:
    wakeup.tend()
    for number in range(BURST):
        (tmp_path / f"{number}.mrc").write_text("1")
    wait_for(lambda: wakeup._hear.n_hints >= BURST)
    clock.now_s += 60.0
    wakeup.tend()
    assert not wakeup.is_resting
    assert _heard(wakeup, tmp_path, "last")
    wakeup.close()


def test_files_that_land_while_nobody_listens__are_found_as_soon_as_with_hints(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str, object], None]
) -> None:
    watched.configure(settle_s=0.2, poll_s=600.0, observer="native")
    monkeypatch.setattr("cryoframe.watch.wakeup.BURST", 1)
    monkeypatch.setattr("cryoframe.watch.wakeup.BURST_1_S", 0.0)
    rested: list[bool] = []
    tend = Wakeup.tend

    def tended(self: Wakeup) -> None:
        tend(self)
        rested.append(self.is_resting)

    monkeypatch.setattr(Wakeup, "tend", tended)

    def land() -> None:
        wait_for(lambda: bool(watched.ticks))
        watched.put("a.mrc", 1.0)
        wait_for(lambda: any(rested))
        for number in range(5):
            watched.put(f"b{number}.mrc", 2.0 + number)
            time.sleep(0.1)

    start_s = time.monotonic()
    events = watched.session_with(land, 2.0)
    assert len(admitted(events)) == 6
    assert time.monotonic() - start_s < 300.0, "long before the next regular rescan"
    figure("s of a session whose hints were not listened to", round(time.monotonic() - start_s, 1))


def test_hints__leave_most_of_a_processor_whatever_a_rescan_costs(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescan(daemon)
    (one,) = daemon.rescans.rounds
    assert one.root.scan_cpu_s > 0.0, "the scanner tells what it took"
    changes = one.root.scanner.changes

    def dear(timeout_s: float) -> object:
        import dataclasses

        found = changes(timeout_s)
        return found and dataclasses.replace(found, cpu_s=0.4)

    monkeypatch.setattr(one.root.scanner, "changes", dear)
    rescan(daemon)
    assert one.gap_s >= HINTS_APART * 0.4
    assert one.next_s <= one.last_s + daemon._config.poll_s + 60.0, "the regular rescan is not put off"
