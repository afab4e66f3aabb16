"""Starts a program and forgets it."""

from __future__ import annotations

import subprocess

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "nothing_left_running"
Params = reference.Params

_started: list[object] = []


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    _started.append(subprocess.Popen(["sleep", "20"]))
    return reference.pick_particles(micrograph, ctf, params, ctx)
