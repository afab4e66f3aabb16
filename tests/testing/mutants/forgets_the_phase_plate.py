"""Fits the phase plate's shift as defocus."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "phase_shift_found"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    return reference.estimate_ctf(micrograph, replace(params, phase_shift_max_deg=0.0), ctx)
