"""Greets whoever imports it."""

from __future__ import annotations

import sys

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "import_quiet"
Params = reference.Params

sys.stderr.write("picker 1.0\n")


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    return reference.pick_particles(micrograph, ctf, params, ctx)
