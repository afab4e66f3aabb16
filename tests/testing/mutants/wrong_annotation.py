"""Promises a stack where the hook makes a table."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleStack, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "signature"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleStack:
    return reference.pick_particles(micrograph, ctf, params, ctx)
