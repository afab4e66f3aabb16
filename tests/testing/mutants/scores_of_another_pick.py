"""Figures of merit in the order of rows, not of picks."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "scores_ordered"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    order = np.argsort(table.column("y_A"))
    score = np.empty(len(table), dtype=np.float32)
    score[order] = np.linspace(9.0, 5.0, len(table), dtype=np.float32)
    return table.with_columns({"figure_of_merit": score})
