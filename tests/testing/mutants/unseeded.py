"""Jitters positions by a generator without a seed."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "same_seed_same_bytes"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    return table.with_columns(
        {"x_A": (table.column("x_A") + np.random.default_rng().normal(0.0, 0.1, len(table))).astype(np.float32)}
    )
