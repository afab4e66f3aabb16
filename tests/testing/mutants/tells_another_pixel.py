"""The pixel before binning."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "pixel_told"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    stack = reference.extract_particles(micrograph, particles, ctf, params, ctx)
    return replace(stack, pixel_size_A=0.5 * stack.pixel_size_A)
