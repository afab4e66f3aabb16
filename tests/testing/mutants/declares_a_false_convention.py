"""Declares the corner as origin and counts from the centre."""

from __future__ import annotations

import numpy as np

from cryoframe import Convention, CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe.data.frames import foreign_columns
from cryoframe_pick import plugin as reference

CAUGHT_BY = "positions_unbiased"
Params = reference.Params

CONVENTION = Convention(position_unit="px", origin="corner")


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    pixel = np.float32(micrograph.pixel_size_A)
    return ParticleTable.from_columns(
        {
            "x_px": table.column("x_A") / pixel,
            "y_px": table.column("y_A") / pixel,
            "figure_of_merit": table.column("figure_of_merit"),
        },
        extra=foreign_columns(CONVENTION),
    )
