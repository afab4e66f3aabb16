"""The pixel of another session."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "microscope_counts"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    return reference.estimate_ctf(replace(micrograph, pixel_size_A=1.5), params, ctx)
