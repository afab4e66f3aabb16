"""Subtracts the mean in place."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "inputs_read_only"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    micrograph.data[...] -= micrograph.data.mean()
    return reference.pick_particles(micrograph, ctf, params, ctx)
