"""Says nothing of what it takes."""

from __future__ import annotations

from cryoframe import hookimpl
from cryoframe_pick import plugin as reference

CAUGHT_BY = "signature"
Params = reference.Params


@hookimpl
def pick_particles(micrograph, ctf, params, ctx):
    return reference.pick_particles(micrograph, ctf, params, ctx)
