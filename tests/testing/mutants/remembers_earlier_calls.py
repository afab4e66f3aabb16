"""Its result depends on how often it was called."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "same_seed_same_bytes"
Params = reference.Params

_calls: list[int] = []


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    _calls.append(1)
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    return table.with_columns({"x_A": (table.column("x_A") + 0.1 * len(_calls)).astype(np.float32)})
