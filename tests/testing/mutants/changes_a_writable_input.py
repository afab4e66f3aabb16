"""Writes into its input where that is allowed."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "inputs_unchanged"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    if micrograph.data.flags.writeable:
        micrograph.data[0, 0] += 1.0
    return reference.pick_particles(micrograph, ctf, params, ctx)
