"""Cuts off what is above a grey value that was right once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "grey_scale_free"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    cut = replace(micrograph, data=np.minimum(micrograph.data, np.float32(103.0)))
    return reference.extract_particles(cut, particles, ctf, params, ctx)
