"""Answers a broken micrograph with an empty table."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "bad_item_refused_clearly"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    try:
        return reference.pick_particles(micrograph, ctf, params, ctx)
    except Exception:
        return ParticleTable.from_columns({"x_A": [], "y_A": [], "figure_of_merit": []})
