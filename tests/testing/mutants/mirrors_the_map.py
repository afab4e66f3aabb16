"""The map of the other hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "hand"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    result = sound.refine_3d(stack, reference, mask, params, ctx)
    data = np.ascontiguousarray(result.volume.data[:, :, ::-1])
    return replace(result, volume=replace(result.volume, data=data))
