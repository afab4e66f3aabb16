"""Keeps a history in the home folder."""

from __future__ import annotations

from pathlib import Path

from cryoframe import CtfFit, Micrograph, ParticleTable, StageContext, hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "nothing_outside_workdir"
Params = reference.Params


@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    with (Path.home() / ".picker_history").open("a") as file:
        file.write("picked\n")
    return reference.pick_particles(micrograph, ctf, params, ctx)
