"""ROC of `select_particles by_class` on particles that RELION projected, among noise, ice and edges.

``python tests/campaigns/select_roc.py [--seeds 3] [--particles 1000] [--junk 600]`` prints what each class
is made of, and the share of particles and of each kind of junk that is kept, by the thresholds of the rule.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "plugins"))

import betagal  # noqa: E402
import relion_views  # noqa: E402

from cryoframe import StageContext  # noqa: E402
from cryoframe_classify import by_class, plugin  # noqa: E402

SHARED = HERE.parents[2] / "shared" / "data"
KINDS = ("particle", "noise", "ice", "edge")


def junk(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes `(n, s, s)` without a particle, noise of deviation 1 included, normalised as boxes are."""
    side = relion_views.BOX_PX
    y, x = np.mgrid[:side, :side].astype(np.float64) - side // 2
    images = rng.standard_normal((n, side, side))
    for image in images:
        if kind == "ice":  # lumps of 20 to 60 Å radius, as strong as the noise and more
            for _ in range(rng.integers(1, 5)):
                at, radius = rng.uniform(-0.45 * side, 0.45 * side, 2), rng.uniform(6.0, 17.0)
                image += rng.uniform(0.7, 2.5) * np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / radius**2)
        if kind == "edge":  # of the carbon: a step, with a bright line along it
            angle, at = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3 * side, 0.3 * side)
            along = x * np.cos(angle) + y * np.sin(angle) - at
            step = rng.uniform(0.5, 1.5)
            image += step / (1 + np.exp(-along / 1.5)) + 0.5 * step * np.exp(-0.5 * (along / 1.5) ** 2)
    return normalised(images)


def normalised(images: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 outside the particle's circle, as `extract_particles` leaves boxes."""
    side = images.shape[-1]
    outside = np.hypot(*(np.mgrid[:side, :side] - side // 2)) > 0.42 * side
    values = images[:, outside]
    return ((images - values.mean(axis=1)[:, None, None]) / values.std(axis=1)[:, None, None]).astype(np.float32)


def mixed(folder: Path, n: int, n_junk: int, seed: int):
    """Stack of n particles and a third of n_junk of each kind, and the kind of each row."""
    stack, _ = relion_views.make(folder, SHARED / betagal.MAP, n + n_junk)
    rng = np.random.default_rng(seed)
    kind = np.zeros(n + n_junk, int)
    images = np.array(stack.images)
    for number in (1, 2, 3):
        rows = np.arange(n + (number - 1) * n_junk // 3, n + number * n_junk // 3)
        images[rows], kind[rows] = junk(KINDS[number], len(rows), rng), number
    return replace(stack, images=normalised(images)), kind


def kept_of(classes, kind: np.ndarray, order: np.ndarray, **settings: float) -> np.ndarray:
    """Share of each kind that the rule keeps."""
    table = by_class.select_particles(classes, by_class.Params(**settings), StageContext(Path()))
    ids = classes.particles.column("particle_id")
    kept = np.isin(ids, table.column("particle_id"))
    return np.array([kept[kind[order] == number].mean() if (kind == number).any() else np.nan for number in range(4)])


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("seeds", 3), ("particles", 1000), ("junk", 600), ("classes", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    thresholds = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    found, usual = [], []
    for seed in range(1, asked.seeds + 1):
        with tempfile.TemporaryDirectory() as name:
            stack, kind = mixed(Path(name), asked.particles, asked.junk, seed)
            params = plugin.Params(n_classes=asked.classes, particle_diameter_A=200.0)
            begun = time.process_time()
            classes = plugin.classify_2d(stack, params, StageContext(Path(name), seed=seed))
            spent = time.process_time() - begun
            place = np.asarray(classes.particles.column("stack_index"))
            labels = np.asarray(classes.particles.column("class_id"))
            show(classes, labels, kind[place], spent)
            usual.append(kept_of(classes, kind, place))
            found.append([kept_of(classes, kind, place, min_score_frac=value) for value in thresholds])
    say("kept:", *KINDS)
    for value, rows in zip(thresholds, np.nanmean(np.array(found), axis=0), strict=True):
        say(f"  min_score_frac {value:.1f}:", *(f"{100 * share:5.1f} %" for share in rows))
    say("  as set:", *(f"{100 * share:5.1f} %" for share in np.nanmean(usual, axis=0)))


def show(classes, labels: np.ndarray, kind: np.ndarray, spent: float) -> None:
    """Print what is known of each class, and what it is made of."""
    table = classes.classes
    say(f"{len(labels)} images, {spent:.0f} CPU-s; class: n, score, Å, turn, what it is made of")
    for row in range(len(table)):
        mine = np.bincount(kind[labels == row], minlength=4)
        figures = [
            f"{name} {table.floats(name)[row]:.2f}" for name in table.names if name not in ("class_id", "n_particles")
        ]
        say(f"  {row:2d}: {mine.sum():4d}", *figures, dict(zip(KINDS, mine.tolist(), strict=True)))


if __name__ == "__main__":
    main()
