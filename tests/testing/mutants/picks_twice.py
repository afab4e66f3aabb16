"""Each particle once more, a little beside."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "picked_once"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    beside = table.with_columns({"x_A": table.column("x_A") + np.float32(12.0)})
    return ParticleTable.concat([table, beside])
