"""Kills a run at random and at every named place, and has what is left judged. LT6 and LT13."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryoframe.records import crash
from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.forked import Driver, shuffled
from cryoframe.testing.soak.score import Room, Verdict

STAGES = ("ctf", "pick", "box")
N_MICROGRAPHS = 6
POINTS = tuple(sorted({*crash.JOURNAL_POINTS, *crash.STORE_POINTS, *crash.RUNNER_POINTS}))
#: Passed only where a product lies that nobody recorded and that is not whole.
MENDING = frozenset({"store.lost_race", "store.set_aside"})


@dataclass
class Score:
    """What a campaign has shown."""

    n_kills: int = 0
    n_points: int = 0
    n_runs: int = 0
    n_started: int = 0
    n_effects: int = 0
    restart_s: float = 0.0
    violations: list[str] = field(default_factory=list)


class Campaign:
    """Runs facilities in children that are killed.

    Parameters
    ----------
    folder
        Where; on a disk in memory it goes faster, and a kill does not lose what was not synced in any case.
    executor
        ``inline`` or ``processes``.
    seed
        Of the moments.
    n_items
        Micrographs of each run.
    """

    def __init__(self, folder: Path, *, executor: str = "inline", seed: int = 1, n_items: int = N_MICROGRAPHS) -> None:
        self.folder, self._executor, self._chance = folder, executor, random.Random(seed)
        self.n_items, self.score, self.driver = n_items, Score(), Driver()
        self.driver.run(self.fresh().config, warm=True)
        start_s = time.monotonic()
        quiet = self.fresh()
        if self.driver.run(quiet.config) != 0:
            raise RuntimeError("the undisturbed run did not end well")
        self.usual_s = time.monotonic() - start_s
        self.quiet = history.products(quiet.out)
        if len(self.quiet) < len(STAGES) * n_items:
            raise RuntimeError("the undisturbed run did not do everything")

    def close(self) -> None:
        """End the warm process."""
        self.driver.close()

    def fresh(self, *, workers: int = 2) -> Facility:
        """Return a new facility, its files already there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        made = Facility(
            Path(tempfile.mkdtemp(dir=self.folder)),
            stages=dict.fromkeys(STAGES, "pass"),
            run={"executor": self._executor, "workers": workers},
            watch=None,
            inputs='[micrographs]\nfiles = "land/*.dat"\npixel_size_A = 1.0',
        ).write()
        for number in range(self.n_items):
            made.put(f"m{number:03d}.dat", number)
        return made

    def at_points(self, points: Sequence[str]) -> None:
        """Die at each point, first at its first passage and then at a later one; then finish and judge."""
        for point in points:
            facility = self.fresh()
            if point in MENDING or point == "store.before_sweep":
                self.driver.run(facility.config, at="store.renamed:2" if point in MENDING else "store.scratch_made:2")
            if point in MENDING:
                _spoil(facility)
            for passage in ("", ":3"):
                rebuild = point.startswith("journal.rebuild")
                self.score.n_points += self.driver.run(facility.config, at=point + passage, rebuild=rebuild) == 137
            self.judge(facility, point)

    def at_random(self, n_kills: int, until_s: float = float("inf")) -> None:
        """Kill at random moments; a run that ends in spite of it is judged, and another is begun."""
        facility = self.fresh()
        while self.score.n_kills < n_kills and time.monotonic() < until_s:
            after_s = self._chance.uniform(0.005, 0.9 * self.usual_s)
            if self.driver.run(facility.config, after_s=after_s) == 0:
                self.judge(facility, "at random")
                facility = self.fresh()
            else:
                self.score.n_kills += 1
        self.judge(facility, "at random")

    def judge(self, facility: Facility, name: str) -> None:
        """Finish a run, and compare all it left with an undisturbed one."""
        start_s = time.monotonic()
        status = self.driver.run(facility.config)
        self.score.restart_s = max(self.score.restart_s, time.monotonic() - start_s)
        items = {f"m{number:03d}.dat" for number in range(self.n_items)}
        found = history.violations(facility.out, items, STAGES, harmless=name not in MENDING)
        found += [f"it ended with {status}"] if status else []
        found += [] if history.products(facility.out) == self.quiet else ["products differ from an undisturbed run's"]
        self.score.violations += [f"{name}: {one}" for one in found]
        log = history.events(facility.out)
        self.score.n_started += sum(name == "StageStarted" for name, _ in log)
        self.score.n_effects += sum(name in history.DONE for name, _ in log)
        self.score.n_runs += 1
        if not found:
            shutil.rmtree(facility.folder)


def _spoil(facility: Facility) -> None:
    """Leave a product that nobody recorded without its provenance, as a disk that lost it would."""
    recorded = {path for (path,) in history.ask(facility.out, "SELECT path FROM products")}
    for place in facility.out.glob("stages/*/*"):
        if place.relative_to(facility.out).as_posix() not in recorded:
            (place / "job.json").unlink()


def kills(room: Room, verdict: Verdict) -> None:
    """LT6: 2 000 random kills, and a death at each named place twice."""
    campaign = Campaign(room.folder, seed=room.seed)
    try:
        campaign.at_points(POINTS)
        campaign.at_random(room.size(2000, 40))
    finally:
        campaign.close()
    tell(campaign.score, verdict)


def tell(score: Score, verdict: Verdict, *, points: bool = True) -> None:
    """Say what a campaign has shown, at the named `points` as well if it went there."""
    verdict.count("lost, twice, torn, left over", score.violations, score.n_kills + score.n_points)
    if points:
        verdict.figure("named places", len(POINTS), "", 25, least=True)
        verdict.figure("deaths at them", score.n_points, "", 2 * len(POINTS) - 12, least=True)
    verdict.figure("random kills", score.n_kills)
    verdict.figure("runs finished", score.n_runs)
    verdict.figure("starts beyond one an effect", score.n_started - score.n_effects)
    verdict.figure("slowest finish after a kill", score.restart_s, "s", 30.0)


def determinism(room: Room, verdict: Verdict) -> None:
    """LT13: 50 micrographs with 1, 2, 4 workers in 20 orders, and killed 20 times: the same bytes each time."""
    campaign = Campaign(room.folder, seed=room.seed, n_items=room.size(50, 6))
    n_orders, chance, differ = room.size(20, 2), random.Random(room.seed), []
    n_runs = 0
    try:
        for workers in (1, 2, 4):
            for number in range(n_orders):
                for is_killed in (False, True):
                    facility = campaign.fresh(workers=workers)
                    order = shuffled(list(facility.land.iterdir()), chance)
                    if is_killed:
                        campaign.driver.run(
                            facility.config, order=order, after_s=chance.uniform(0.05, 0.9) * campaign.usual_s
                        )
                    campaign.driver.run(facility.config, order=order)
                    n_runs += 1
                    if history.products(facility.out) != campaign.quiet:
                        differ.append(f"{workers} workers, order {number}, killed: {is_killed}")
                    shutil.rmtree(facility.folder)
    finally:
        campaign.close()
    verdict.count("other bytes", differ, n_runs)
