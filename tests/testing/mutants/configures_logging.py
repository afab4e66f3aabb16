"""Sets up logging while it is imported."""

from __future__ import annotations

import logging

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "import_quiet"
Params = reference.Params

logging.basicConfig(level=logging.DEBUG)


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, params, ctx)
