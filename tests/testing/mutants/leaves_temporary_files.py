"""Leaves a file in the temporary folder."""

from __future__ import annotations

import tempfile

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "nothing_outside_workdir"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"scratch")
    return reference.pick_particles(micrograph, ctf, params, ctx)
