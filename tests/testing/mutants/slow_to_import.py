"""Computes a table while it is imported."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "import_cost"
Params = reference.Params

_table = sorted(str(number) for number in range(1_500_000))


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, params, ctx)
