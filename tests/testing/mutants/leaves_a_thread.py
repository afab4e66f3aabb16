"""Starts a thread and forgets it."""

from __future__ import annotations

import threading
import time

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "nothing_left_running"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    threading.Thread(target=time.sleep, args=(3.0,), name="forgotten").start()
    return reference.pick_particles(micrograph, ctf, params, ctx)
