"""Zero is the first pixel's corner."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "positions_unbiased"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    half = np.float32(0.5 * micrograph.pixel_size_A)
    return table.with_columns({"x_A": table.column("x_A") + half, "y_A": table.column("y_A") + half})
