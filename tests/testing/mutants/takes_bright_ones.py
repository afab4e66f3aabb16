"""Sees no difference between dark and bright."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "dark_only"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    bright = replace(micrograph, data=np.float32(2.0) * np.median(micrograph.data) - micrograph.data)
    tables = [reference.pick_particles(each, ctf, params, ctx) for each in (micrograph, bright)]
    return ParticleTable.concat(tables)
