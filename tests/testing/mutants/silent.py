"""Takes long and says nothing."""

from __future__ import annotations

import time

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "progress_reported"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    time.sleep(0.5)
    return reference.pick_particles(micrograph, ctf, params, StageContext(ctx.workdir))
