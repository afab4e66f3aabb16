"""A parameter nobody explains."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "params_documented"


@dataclass(frozen=True)
class Params:
    diameter_A: float = 96.0


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, reference.Params(diameter_A=96.0), ctx)
