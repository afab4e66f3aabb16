"""Grey values as the camera gave them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "background_normalised"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    stack = reference.extract_particles(micrograph, particles, ctf, params, ctx)
    return replace(stack, images=np.float32(20.0) * stack.images + np.float32(100.0))
