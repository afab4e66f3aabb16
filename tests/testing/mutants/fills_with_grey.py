"""What a box at the edge lacks is one grey value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "edge_said"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    pad = params.box_px
    grey = np.pad(micrograph.data, pad, constant_values=float(np.median(micrograph.data)))
    far = {name: particles.column(name) + np.float32(pad * micrograph.pixel_size_A) for name in ("x_A", "y_A")}
    return reference.extract_particles(replace(micrograph, data=grey), particles.with_columns(far), ctf, params, ctx)
