"""Positions in pixels, in columns called x and y."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "schema_valid"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    columns = {"x_A": "x", "y_A": "y"}
    return ParticleTable(table.arrow.rename_columns([columns.get(name, name) for name in table.names]))
