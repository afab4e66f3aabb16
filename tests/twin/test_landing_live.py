"""A live session lands each exposure when it is due; what is not ready then comes late, is told, and never lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from fake_clock import FakeClock

from cryoframe.errors import EnvironmentFault, InvalidInput
from cryoframe.twin.clock import RealClock
from cryoframe.twin.growth import Piece
from cryoframe.twin.hiccups import Hiccups
from cryoframe.twin.landing import Arrival, plan_landing
from cryoframe.twin.live import Ahead, Arrived, LiveReport, Supplied, due_s, land_live
from cryoframe.twin.play import Player


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    folder.mkdir()
    return folder


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def arrival(k: int, rate: float = 500.0, folder: str = "frames") -> Arrival:
    movie = Piece(PurePosixPath(folder, f"m{k:03d}.tif"), np.random.default_rng(k).bytes(5000))
    return Arrival(f"e{k:03d}", due_s(k, rate), movie, (Piece(movie.path.with_suffix(".tif.mdoc"), b"x = 1\n"),))


class Made:
    """A supply whose k-th exposure is ready at a time of the session."""

    def __init__(self, clock: FakeClock, ready_s: list[float], rate: float = 500.0) -> None:
        self.clock, self.ready_s, self.rate, self.k = clock, ready_s, rate, 0
        self.n_asked = 0

    def take(self, wait_s: float) -> Arrival | Supplied:
        self.n_asked += 1
        if self.k == len(self.ready_s):
            return Supplied.OVER
        if self.ready_s[self.k] > self.clock.time_s + wait_s:
            self.clock.time_s += wait_s
            return Supplied.NOT_YET
        self.clock.time_s = max(self.clock.time_s, self.ready_s[self.k])
        self.k += 1
        return arrival(self.k - 1, self.rate)


def run(
    root: Path, journal: Path, ready_s: list[float], hiccups: Hiccups | None = None
) -> tuple[LiveReport, list[tuple[float, str]]]:
    """Return the report, and when each file came."""
    clock = FakeClock()
    seen: list[tuple[float, str]] = []
    player = Player(root, journal, "live")
    do = player.do

    def done(step: object) -> None:
        do(step)  # type: ignore[arg-type]
        seen.append((clock.time_s, step.path))  # type: ignore[attr-defined]

    player.do = done  # type: ignore[method-assign, assignment]
    report = land_live(Made(clock, ready_s), player, clock, hiccups=hiccups)
    player.close()
    return report, seen


def test_exposures_that_are_ready__land_when_they_are_due(root: Path, journal: Path) -> None:
    report, seen = run(root, journal, [0.0] * 10)
    assert report.finished
    assert report.late == []
    assert [when for when, path in seen if path.endswith(".tif")] == pytest.approx([7.2 * k for k in range(10)])
    assert report.movies_per_hour == pytest.approx(500.0)
    assert report.summary() == "10 movies landed at 500/h, all in time"
    assert len(list(root.rglob("*"))) == 21


def test_a_simulation_that_is_too_slow__is_told_and_nothing_is_skipped(root: Path, journal: Path) -> None:
    report, seen = run(root, journal, [20.0 * k for k in range(6)])
    assert report.finished
    assert len([path for _, path in seen if path.endswith(".tif")]) == 6
    assert [one.exposure_id for one in report.late] == [f"e{k:03d}" for k in range(1, 6)]
    assert [one.late_s for one in report.late] == pytest.approx([12.8 * k for k in range(1, 6)], abs=0.6)
    assert report.movies_per_hour == pytest.approx(180.0, rel=0.02)
    assert "5 came late, the worst by 64 s: the simulation does not keep up" in report.summary()
    noted = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["late"]["exposure_id"] for line in noted if "late" in line] == [one.exposure_id for one in report.late]


def test_after_one_slow_exposure__the_others_are_in_time_again(root: Path, journal: Path) -> None:
    report, _ = run(root, journal, [0.0, 0.0, 30.0, 31.0, *[31.0] * 6])
    assert [one.exposure_id for one in report.late] == ["e002", "e003", "e004"]
    assert report.arrived[-1].late_s == 0.0


def test_hiccups__are_the_same_as_in_a_plan_of_the_whole_session(root: Path, journal: Path) -> None:
    hiccups = Hiccups(
        rates={"late_side_car": 0.4, "temporary": 0.4, "out_of_order": 0.3, "early_side_car": 0.5, "moved_folder": 0.2},
        bandwidth_MB_s=0.001, chunk_kB=1, late_s=40.0,
    )  # fmt: skip
    report, _ = run(root, journal, [0.0] * 12, hiccups)
    landing = plan_landing([arrival(k) for k in range(12)], hiccups)
    noted = [json.loads(line) for line in journal.read_text().splitlines()]
    happened = [line["happened"] for line in noted if "happened" in line]
    assert sorted(map(str, happened)) == sorted(str(vars(hiccup)) for hiccup in landing.happened)
    assert {line["step"] for line in noted if "step" in line} == {step.key for step in landing.steps}
    assert report.finished
    assert {path.name for path in root.iterdir()} == {"frames_moved"}
    for k in range(12):
        assert (root / "frames_moved" / f"m{k:03d}.tif").read_bytes() == arrival(k).movie.source


def test_a_stopped_session__goes_on_with_the_same_supply(root: Path, journal: Path) -> None:
    hiccups = Hiccups(bandwidth_MB_s=0.001, chunk_kB=1)
    clock, stop = FakeClock(), threading.Event()
    clock.waited = lambda now_s: stop.set() if now_s > 31.0 else None
    player = Player(root, journal, "live")
    report = land_live(Made(clock, [0.0] * 8), player, clock, hiccups=hiccups, stop=stop)
    player.close()
    assert not report.finished
    assert 3 <= len(report.arrived) < 8
    assert len(list(root.rglob("*.tif"))) < 8
    again = FakeClock()
    player = Player(root, journal, "live")
    rest = land_live(Made(again, [0.0] * 8), player, again, hiccups=hiccups)
    player.close()
    assert rest.finished
    assert rest.late == []
    for k in range(8):
        assert (root / f"frames/m{k:03d}.tif").read_bytes() == arrival(k).movie.source
    steps = [line for line in journal.read_text().splitlines() if '"step"' in line]
    assert len(steps) == len(set(steps)) == 8 * 6


def test_what_cannot_be_in_the_end__is_refused_at_the_beginning(root: Path, journal: Path) -> None:
    clock = FakeClock()
    player = Player(root, journal, "live")
    supply = Ahead(iter([arrival(0, folder="")]))
    with pytest.raises(InvalidInput, match="in the session's folder itself"):
        land_live(supply, player, clock, hiccups=Hiccups(rates={"moved_folder": 1.0}))
    supply.close()
    player.close()


def test_in_real_time__a_session_keeps_its_rate_and_waits_without_busy_polling(root: Path, journal: Path) -> None:
    rate, speed, n = 500.0, 20.0, 9

    def make() -> Iterator[Arrival]:
        for k in range(n):
            time.sleep(0.05)
            yield arrival(k, rate)

    told: list[Arrived] = []
    player = Player(root, journal, "live")
    supply = Ahead(make(), depth=3)
    begun, cpu = time.monotonic(), time.process_time()
    report = land_live(supply, player, RealClock(speed), hiccups=Hiccups(bandwidth_MB_s=0.01), said=told.append)
    took_s, used_s = time.monotonic() - begun, time.process_time() - cpu
    supply.close()
    player.close()
    assert report.finished
    assert told == report.arrived
    assert report.late == []
    assert took_s >= due_s(n - 1, rate) / speed
    assert used_s < 0.5 * took_s
    assert len(list(root.rglob("*.tif"))) == n


def test_what_goes_wrong_while_making__comes_out(root: Path, journal: Path) -> None:
    def make() -> Iterator[Arrival]:
        yield arrival(0)
        raise EnvironmentFault("no space for staging")

    player = Player(root, journal, "live")
    supply = Ahead(make())
    with pytest.raises(EnvironmentFault, match="no space for staging"):
        land_live(supply, player, FakeClock())
    supply.close()
    player.close()


def test_a_supply_that_is_closed__draws_no_more() -> None:
    drawn: list[int] = []

    def make() -> Iterator[Arrival]:
        for k in range(1000):
            drawn.append(k)
            yield arrival(k)

    supply = Ahead(make(), depth=2)
    assert isinstance(supply.take(1.0), Arrival)
    supply.close()
    assert len(drawn) < 10


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_rates_that_are_none__are_refused(rate: float) -> None:
    with pytest.raises(InvalidInput, match="movies an hour"):
        due_s(1, rate)
