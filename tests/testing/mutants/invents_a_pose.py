"""Gives an image of nothing but NaN a pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume, hookimpl
from cryoframe_refine import plugin as sound

CAUGHT_BY = "bad_item_refused_clearly"
Params = sound.Params


@hookimpl
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    grain = np.random.default_rng(0).normal(0.0, np.nanstd(stack.images), stack.images.shape)
    images = np.where(np.isfinite(stack.images), stack.images, grain).astype(np.float32)
    stack = replace(stack, images=images)
    return sound.refine_3d(stack, reference, mask, params, ctx)
