"""Says no, and nothing more."""

from __future__ import annotations

import numpy as np

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe_pick import plugin as reference

CAUGHT_BY = "bad_item_refused_clearly"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    if not np.isfinite(micrograph.data).all():
        raise InvalidInput("bad micrograph")
    return reference.pick_particles(micrograph, ctf, params, ctx)
