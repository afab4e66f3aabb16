"""Refuses to work after it was killed, because of the lock it left."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "kill_and_resume"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    lock = Path(tempfile.gettempdir()) / "picker.lock"
    lock.touch(exist_ok=False)
    table = reference.pick_particles(micrograph, ctf, params, ctx)
    lock.unlink()
    return table
