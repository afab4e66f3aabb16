"""Takes for granted that there is a best particle."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "empty_input"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    stack = reference.extract_particles(micrograph, particles, ctf, params, ctx)
    ctx.metric("best", float(particles.column("figure_of_merit").max()))
    return stack
