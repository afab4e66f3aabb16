"""The axis as it was on the microscope's first day."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "defocus_range"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    fit = reference.estimate_ctf(micrograph, params, ctx)
    return replace(fit, defocus_angle_deg=25.0)
