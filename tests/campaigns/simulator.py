"""A session of the whole program in one thread on a simulated machine, seed by seed, each with faults of its own.

``python tests/campaigns/simulator.py --seeds 20000`` for a night; a seed that fails is printed with what befell it, and
``--replay SEED`` plays it again and tells what happens while it happens. ``tests/simulator`` says what is simulated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "simulator"))

from simulated_day import Result, play

HOUR_S = 3600.0
SHOWN_LINES = 60


def show(result: Result) -> None:
    """Print what is wrong with a seed, what befell it and what happened last."""
    out = [str(result), *result.violation.splitlines()[1:], "what befell it:", *result.schedule]
    out += [f"the last {SHOWN_LINES} things that happened:", *result.lines[-SHOWN_LINES:]]
    out += [f"again: python tests/campaigns/simulator.py --replay {result.seed}", ""]
    text = "\n".join(out)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def replay(seed: int) -> Result:
    """Play a seed again and tell what happens."""
    return play(seed, tell=lambda line: sys.stdout.write(f"{line}\n") and None)


def campaign(first: int, n_seeds: int, until_s: float) -> list[Result]:
    """Play seeds until all are played or time is up; those that fail are shown at once and returned."""
    failed: list[Result] = []
    met: Counter[str] = Counter()
    simulated_s = cpu_s = n_played = n_effects = n_lives = 0.0
    for seed in range(first, first + n_seeds):
        if time.monotonic() >= until_s:
            break
        result = play(seed)
        met.update(result.met)
        n_played, n_lives, n_effects = n_played + 1, n_lives + result.n_lives, n_effects + result.n_effects
        simulated_s, cpu_s = simulated_s + result.simulated_s, cpu_s + result.cpu_s
        if result.violation:
            failed.append(result)
            show(result)
    words = f"{n_played:.0f} seeds from {first}, {simulated_s / HOUR_S:.0f} simulated hours, {n_lives:.0f} lives, "
    words += f"{n_effects:.0f} effects: {len(failed)} failed {[result.seed for result in failed]} "
    words += f"(95 %: \u2264 {300 / max(1, n_played):.2g} % a seed), {cpu_s / max(1, n_played):.2f} CPU-s a seed\n"
    words += ", ".join(f"{name} {count}" for name, count in met.most_common()) + "\n"
    sys.stdout.write(words)
    return failed


def main(words: Sequence[str]) -> int:
    """Play a night's seeds, or one again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--replay", type=int)
    options = parser.parse_args(words)
    if options.replay is not None:
        result = replay(options.replay)
        show(result)
        return int(bool(result.violation))
    return int(bool(campaign(options.first, options.seeds, time.monotonic() + 60 * options.minutes)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
