"""Sorts what it is given at first by what it shows, and when more comes it puts all but one into one class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import Classes2D, ClassTable, ParticleStack, ParticleTable, StageContext, hookimpl

CAUGHT_BY = "grows_to_the_batch"
CARRIES_ON = True


@dataclass(frozen=True)
class Params:
    """Nothing to set."""


@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    """Two classes, by the largest second moment of an image: the phantom's views are long and round."""
    ids = np.asarray(stack.particles.column("particle_id"))
    images = np.asarray(stack.images, dtype=np.float64)
    half = np.arange(images.shape[-1]) - images.shape[-1] // 2
    inside = np.hypot(half[:, None], half[None]) < 0.4 * len(half)
    xx, yy, xy = (
        (images * inside * moment).sum(axis=(1, 2))
        for moment in (half[None] ** 2, half[:, None] ** 2, half[:, None] * half[None])
    )
    long = np.hypot(xx - yy, 2.0 * xy)
    labels = (long > np.median(long)).astype(np.int32)
    if ctx.checkpoint_dir is not None:
        kept = ctx.checkpoint_dir / "seen"
        if kept.exists():
            labels[1:] = 0
        kept.touch()
    rows = {"particle_id": ids, "class_id": labels}
    particles = ParticleTable.from_columns(rows | {"class_probability_frac": np.ones(len(ids), np.float32)})
    averages = np.stack([images[labels == k].mean(axis=0) for k in (0, 1)]).astype(np.float32)
    count = np.bincount(labels, minlength=2)
    table = {"class_id": [0, 1], "n_particles": count, "resolution_A": [30.0, 30.0], "class_score": [1.0, 1.0]}
    classes = ClassTable.from_columns({name: np.array(value) for name, value in table.items()})
    return Classes2D(averages, classes, particles, stack.pixel_size_A)
