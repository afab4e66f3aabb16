"""Its first argument has a name of its own."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "signature"
Params = reference.Params


@hookimpl
def pick_particles(image: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(image, ctf, params, ctx)
