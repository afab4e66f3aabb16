"""Works only in the process that loaded everything."""

from __future__ import annotations

import sys

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "works_in_a_worker"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    if "pytest" not in sys.modules:
        raise RuntimeError("who are you?")
    return reference.pick_particles(micrograph, ctf, params, ctx)
