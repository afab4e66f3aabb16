"""The direction of astigmatism with the opposite sense."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "orientation"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    fit = reference.estimate_ctf(micrograph, params, ctx)
    return replace(fit, defocus_angle_deg=(180.0 - fit.defocus_angle_deg) % 180.0)
