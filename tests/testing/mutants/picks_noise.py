"""Finds as many particles as it is asked to, everywhere."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "null_noise"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    n = max(20 - len(table), 0)
    y_A, x_A = (ctx.rng.uniform(100.0, 1000.0, n).astype(np.float32) for _ in range(2))
    more = ParticleTable.from_columns({"x_A": x_A, "y_A": y_A, "figure_of_merit": np.ones(n, dtype=np.float32)})
    return ParticleTable.concat([table, more])
