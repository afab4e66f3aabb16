"""Kills a run again and again, at random and at every named point, and has `history` judge what is left.

``python tests/campaigns/kill_campaign.py --kills 200`` before a change that touches the store, ``--kills 2000`` before
a release; the tests run a short form. Every figure depends on the seed alone, but for the moments of the random kills.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "execution")]

import history  # noqa: E402

from cryoframe.records import crash  # noqa: E402

STAGES = ["ctf", "pick", "box"]
N_MICROGRAPHS = 6
#: Passed only while something is mended or raced for; the tests of journal and store kill there.
UNUSUAL = {"journal.rebuild_dropped", "journal.rebuild_folded", "store.lost_race", "store.set_aside"}
POINTS = sorted({*crash.JOURNAL_POINTS, *crash.STORE_POINTS, *crash.RUNNER_POINTS} - UNUSUAL)


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

    def lines(self) -> list[str]:
        """Return the figures for people."""
        n_trials = self.n_kills + self.n_points
        return [
            f"{self.n_kills} random kills and {self.n_points} deaths at {len(POINTS)} named points, {self.n_runs} runs",
            f"{len(self.violations)} violations (95 % bound: {300 / max(n_trials, 1):.2g} % a kill)",
            f"{self.n_effects} effects of {self.n_started} starts; slowest undisturbed finish {self.restart_s:.1f} s",
            *self.violations[:20],
        ]


class Campaign:
    """Runs worlds in a child that is killed."""

    def __init__(self, folder: Path, *, executor: str, seed: int) -> None:
        self._folder, self._executor, self._chance = folder, executor, random.Random(seed)
        self._driver = subprocess.Popen(
            [sys.executable, str(HERE.parent / "execution" / "killed_runs.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.score = Score()
        self._run(self._fresh())  # the child has imported everything by now
        start_s = time.monotonic()
        quiet = self._fresh()
        assert self._run(quiet) == 0, "the undisturbed run did not end well"
        self._usual_s = time.monotonic() - start_s
        self._quiet = history.products(quiet / "out")
        assert len(self._quiet) >= 3 * N_MICROGRAPHS

    def close(self) -> None:
        """End the driver."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.close()
        self._driver.wait(timeout=60)
        self._driver.stdout.close()

    def at_points(self, points: Sequence[str]) -> None:
        """Die at each point, first at its first passage and then at a later one; then finish and judge."""
        for point in points:
            world = self._fresh()
            if point == "store.before_sweep":
                self._run(world, at="store.renamed:2")
            for passage in ("", ":3"):
                self.score.n_points += self._run(world, at=point + passage) == 137
            self._judge(world, point)

    def at_random(self, n_kills: int, until_s: float = float("inf")) -> None:
        """Kill at random moments; a run that ends in spite of it is judged, and another is begun."""
        world = self._fresh()
        while self.score.n_kills < n_kills and time.monotonic() < until_s:
            if self._run(world, after_s=self._chance.uniform(0.02, 0.8 * self._usual_s)) == 0:
                self._judge(world, "at random")
                world = self._fresh()
            else:
                self.score.n_kills += 1
        self._judge(world, "at random")

    def _judge(self, world: Path, name: str) -> None:
        start_s = time.monotonic()
        status = self._run(world)
        self.score.restart_s = max(self.score.restart_s, time.monotonic() - start_s)
        items = {f"m{number}.mrc" for number in range(N_MICROGRAPHS)}
        found = history.violations(world / "out", items, STAGES)
        found += [f"it ended with {status}"] if status else []
        found += [] if history.products(world / "out") == self._quiet else ["products differ from an undisturbed run's"]
        self.score.violations += [f"{name}: {one}" for one in found]
        log = history.events(world / "out")
        self.score.n_started += sum(name == "StageStarted" for name, _ in log)
        self.score.n_effects += sum(name in history.DONE for name, _ in log)
        self.score.n_runs += 1
        if not found:
            shutil.rmtree(world)

    def _fresh(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self._folder))

    def _run(self, world: Path, *, at: str = "", after_s: float = 0.0) -> int:
        content = {"stages": STAGES, "n_micrographs": N_MICROGRAPHS, "executor": self._executor}
        environment = {crash.VARIABLE: at} if at else {}
        order = {"folder": str(world), "world": content, "environment": environment, "kill_s": after_s}
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps(order) + "\n")
        self._driver.stdin.flush()
        return int(self._driver.stdout.readline())


def main(words: Sequence[str]) -> int:
    """Run a campaign and print its figures; 1 if there was a violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--executor", choices=("inline", "processes"), default="inline")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-points", action="store_true")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="end after so long, with what there is")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), executor=options.executor, seed=options.seed)
        start_s = time.monotonic()
        campaign.at_points([] if options.no_points else POINTS)
        campaign.at_random(options.kills, start_s + options.limit_s)
        campaign.close()
    sys.stdout.write("\n".join([*campaign.score.lines(), f"{time.monotonic() - start_s:.0f} s", ""]))
    return int(bool(campaign.score.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
