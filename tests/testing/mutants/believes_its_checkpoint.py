"""Goes on from whatever it finds in its checkpoint folder, as if that were of this call, and not at its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe import Classes2D, ClassTable, ParticleStack, ParticleTable, StageContext, hookimpl

CAUGHT_BY = "checkpoint_changes_nothing"


@dataclass(frozen=True)
class Params:
    """Nothing to set."""


@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    """One class, whose score is the number of calls."""
    n_calls = 1
    if ctx.checkpoint_dir is not None:
        kept = ctx.checkpoint_dir / "calls"
        n_calls += int(kept.read_text()) if kept.exists() else 0
        kept.write_text(str(n_calls))
    m = len(stack.particles)
    rows = {"particle_id": stack.particles.column("particle_id"), "class_id": np.zeros(m, np.int32)}
    particles = ParticleTable.from_columns(rows | {"class_probability_frac": np.ones(m, np.float32)})
    average = np.asarray(stack.images).mean(axis=0, dtype=np.float64)[None].astype(np.float32)
    table = {"class_id": [0], "n_particles": [m], "resolution_A": [30.0], "class_score": [float(n_calls)]}
    classes = ClassTable.from_columns({name: np.array(value) for name, value in table.items()})
    return Classes2D(average, classes, particles, stack.pixel_size_A)
