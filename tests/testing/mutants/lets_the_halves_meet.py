"""Both half-maps are the map of all particles."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "null_noise"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    result = sound.refine_3d(stack, reference, mask, params, ctx)
    halves = replace(result.half_maps, first=result.volume, second=result.volume)
    return replace(result, half_maps=halves)
