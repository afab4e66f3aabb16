"""Positions in double precision."""

from __future__ import annotations

import pyarrow as pa

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "schema_valid"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    at = table.arrow.schema.get_field_index("x_A")
    field = table.arrow.schema.field("x_A").with_type(pa.float64())
    return ParticleTable(table.arrow.set_column(at, field, table.arrow.column("x_A").cast(pa.float64())))
