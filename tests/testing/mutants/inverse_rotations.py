"""The inverse of each rotation."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "known_answer"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    result = sound.refine_3d(stack, reference, mask, params, ctx)
    t = result.particles
    turned = {"rot_deg": -t.column("psi_deg"), "tilt_deg": -t.column("tilt_deg"), "psi_deg": -t.column("rot_deg")}
    return replace(result, particles=t.with_columns(turned))
