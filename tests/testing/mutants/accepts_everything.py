"""Doubts none of its fits."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "no_rings_refused"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    fit = reference.estimate_ctf(micrograph, params, ctx)
    return replace(fit, accepted=True, confidence_frac=1.0, verdict="")
