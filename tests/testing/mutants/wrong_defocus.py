"""Two per cent too much defocus, as from a wrong voltage."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "known_answer"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    fit = reference.estimate_ctf(micrograph, params, ctx)
    return replace(fit, defocus_u_A=1.02 * fit.defocus_u_A, defocus_v_A=1.02 * fit.defocus_v_A)
