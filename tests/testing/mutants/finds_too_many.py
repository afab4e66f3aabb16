"""Picks every particle and its neighbourhood."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "known_answer"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    beside = table.with_columns({"x_A": table.column("x_A") + np.float32(60.0)})
    return ParticleTable.concat([table, beside])
