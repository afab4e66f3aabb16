"""Holds two picks to a distance of its own."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "distance_kept"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, replace(params, min_distance_A=0.0), ctx)
