"""The phase shift of a phase plate with the opposite sign."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "phase_shift_found"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    fit = reference.estimate_ctf(micrograph, params, ctx)
    return replace(fit, phase_shift_deg=(180.0 - fit.phase_shift_deg) % 180.0)
