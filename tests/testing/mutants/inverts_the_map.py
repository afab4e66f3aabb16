"""Protein dark in the map."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "contrast"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    result = sound.refine_3d(stack, reference, mask, params, ctx)
    return replace(result, volume=replace(result.volume, data=-result.volume.data))
