"""A column nobody declared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "columns_declared"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    return ParticleTable(table.arrow.append_column("score2", pa.array(np.zeros(len(table)))))
