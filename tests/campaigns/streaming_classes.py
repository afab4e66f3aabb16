"""classify_2d `streaming` fed in portions, in an order of its own for each seed, beside `em` on the whole set.

``python tests/campaigns/streaming_classes.py views|picks [--seeds 5] [--portions 10]`` prints rows
and paired differences: `views` are 2 000 particles of 20 views that RELION projected (purity, alignment), `picks`
the 1 157 real ones (log-evidence, and how the automatic selection agrees with people's 593).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "plugins"))

import betagal  # noqa: E402
import relion_views  # noqa: E402

from cryoframe import Classes2D, ParticleStack, StageContext  # noqa: E402
from cryoframe_classify import by_class, plugin, streaming  # noqa: E402

SHARED = HERE.parents[2] / "shared" / "data"
Figures = dict[str, float]


def views(folder: Path) -> tuple[ParticleStack, dict[str, float], Callable[[Classes2D], Figures]]:
    """Particles of RELION's projection, settings, and what is known of their classes."""
    stack, truth = relion_views.make(folder, SHARED / betagal.MAP, 2000)

    def judge(classes: Classes2D) -> Figures:
        table = classes.particles
        order = np.argsort(table.column("stack_index"))
        labels, psi_deg = table.column("class_id")[order], table.floats("psi_deg")[order]
        shift_A = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1)[order]
        turn_deg, move_A = relion_views.alignment_errors(labels, psi_deg, shift_A, truth)
        return {"purity": relion_views.purity(labels, truth), "psi_deg": turn_deg, "shift_A": move_A}

    return stack, {"n_classes": 20, "particle_diameter_A": 200.0}, judge


def picks(folder: Path) -> tuple[ParticleStack, dict[str, float], Callable[[Classes2D], Figures]]:
    """Real picks, settings, and people's choice among them."""
    stack, chosen = betagal.picks(SHARED, folder), betagal.particles(SHARED, folder).particles
    wanted = places(chosen)

    def judge(classes: Classes2D) -> Figures:
        kept = places(by_class.select_particles(classes, by_class.Params(), StageContext(folder)))
        count = classes.classes.column("n_particles")
        evidence = float((classes.classes.floats("class_score") * count).sum() / count.sum())
        both = len(kept & wanted)
        return {"evidence": evidence, "recall": both / len(wanted), "precision": both / max(len(kept), 1)}

    return stack, {"n_classes": 16, "particle_diameter_A": 190.0}, judge


def places(particles) -> set[tuple[str, int, int]]:
    names = (Path(str(name)).name for name in particles.column("micrograph_id"))
    x, y = (np.round(particles.floats(axis)).astype(int).tolist() for axis in ("x_A", "y_A"))
    return set(zip(names, x, y, strict=True))


def in_portions(stack: ParticleStack, settings: dict[str, float], seed: int, n_portions: int):
    """Classes after the last of the portions, CPU-seconds of each call."""
    m = len(stack.particles)
    order = np.random.default_rng(100 + seed).permutation(m)
    spent = []
    with tempfile.TemporaryDirectory() as name:
        for portion in range(1, n_portions + 1):
            rows = np.sort(order[: m * portion // n_portions])
            some = replace(stack, images=stack.images[rows], particles=stack.particles.select(rows))
            context = StageContext(Path(name), seed=seed, checkpoint_dir=Path(name))
            begun = time.process_time()
            classes = streaming.classify_2d(some, streaming.Params(**settings), context)
            spent.append(time.process_time() - begun)
    return classes, spent


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print rows and differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("views", "picks"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--portions", type=int, default=10)
    asked = parser.parse_args()
    found: list[tuple[Figures, Figures]] = []
    with tempfile.TemporaryDirectory() as name:
        stack, settings, judge = {"views": views, "picks": picks}[asked.which](Path(name))
        for seed in range(1, asked.seeds + 1):
            begun = time.process_time()
            whole = plugin.classify_2d(stack, plugin.Params(**settings), StageContext(Path(name), seed=seed))
            batch_s = time.process_time() - begun
            grown, spent = in_portions(stack, settings, seed, asked.portions)
            pair = (
                {**judge(whole), "cpu_s": batch_s},
                {**judge(grown), "cpu_s": sum(spent)},
            )
            found.append(pair)
            for what, figures in zip(("at once    ", "in portions"), pair, strict=True):
                say(f"seed {seed} {what}", *(f"{key} {value:.3f}" for key, value in figures.items()))
            say("       CPU-s of the calls:", *(f"{one:.1f}" for one in spent))
    for key in found[0][0]:
        one, two = (np.array([pair[side][key] for pair in found]) for side in (0, 1))
        apart = two - one
        if len(apart) < 2:
            break
        error = apart.std(ddof=1) / np.sqrt(len(apart))
        say(
            f"{key}: at once {one.mean():.3f} ± {one.std(ddof=1):.3f}, in portions {two.mean():.3f} ± "
            f"{two.std(ddof=1):.3f}; difference {apart.mean():+.3f} ± {error:.3f} (standard error, {len(apart)} pairs)"
        )


if __name__ == "__main__":
    main()
