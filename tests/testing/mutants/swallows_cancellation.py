"""Catches the cancellation with everything else."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "cancellation"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    try:
        ctx.report(0, 1)
    except Exception:
        params = Params(diameter_A=params.diameter_A)
    return reference.pick_particles(micrograph, ctf, params, StageContext(ctx.workdir))
