"""Boxes that leave the micrograph are gone without a word."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe_extract import plugin as reference

CAUGHT_BY = "edge_said"
Params = reference.Params


@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    half = 0.5 * params.box_px * micrograph.pixel_size_A
    ny, nx = micrograph.shape_px
    x, y = particles.column("x_A"), particles.column("y_A")
    far = [(v > half) & (v < n * micrograph.pixel_size_A - half) for v, n in ((x, nx), (y, ny))]
    return reference.extract_particles(micrograph, particles.select(far[0] & far[1]), ctf, params, ctx)
