"""Leaves the worst particles out without a word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "ids_preserved"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    result = sound.refine_3d(stack, reference, mask, params, ctx)
    kept = result.particles.floats("pose_score") >= np.quantile(result.particles.floats("pose_score"), 0.1)
    kept[:3] = False
    return replace(result, particles=result.particles.select(kept))
