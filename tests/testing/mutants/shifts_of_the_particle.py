"""Where the particle sits, not what centres it."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "shift_sign"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    result = sound.refine_3d(stack, reference, mask, params, ctx)
    flipped = {name: -result.particles.column(name) for name in ("shift_x_A", "shift_y_A")}
    return replace(result, particles=result.particles.with_columns(flipped))
