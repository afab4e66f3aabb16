"""Positions to the nearest eight pixels."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "moves_with_the_image"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    step_A = 8.0 * micrograph.pixel_size_A
    whole = {name: (np.round(table.column(name) / step_A) * step_A).astype(np.float32) for name in ("x_A", "y_A")}
    return table.with_columns(whole)
