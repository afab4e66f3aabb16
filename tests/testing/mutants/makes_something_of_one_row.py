"""Finds a defocus in everything."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "impossible_image_refused"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    if min(micrograph.shape_px) < 64:
        return CtfFit(micrograph.micrograph_id, 15000.0, 14000.0, 10.0)
    return reference.estimate_ctf(micrograph, params, ctx)
