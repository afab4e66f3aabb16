"""Declares pixels and returns ångström."""

from __future__ import annotations

from cryoframe import Convention, CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "convention_honoured"
Params = reference.Params

CONVENTION = Convention(position_unit="px", origin="corner")


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, params, ctx)
