"""Keeps one of two equal images, without a word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "duplicate_item"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    stack = reference.extract_particles(micrograph, particles, ctf, replace(params, duplicate_A=0.0), ctx)
    _, rows = np.unique(stack.images.reshape(len(stack.images), -1), axis=0, return_index=True)
    rows = np.sort(rows)
    return replace(stack, images=stack.images[rows], particles=stack.particles.select(rows))
