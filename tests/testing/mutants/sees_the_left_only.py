"""Searches the first 256 columns."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "known_answer"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    return table.select(table.column("x_A") < 256.0 * micrograph.pixel_size_A)
