"""Counts y from the last row."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "orientation"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    y_A = (micrograph.shape_px[0] - 1) * micrograph.pixel_size_A - table.floats("y_A")
    return table.with_columns({"y_A": y_A.astype(np.float32)})
