"""Takes every microscope for one of 300 kV."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CtfFit, Micrograph, StageContext, hookimpl
from cryoframe_ctf import plugin as reference

CAUGHT_BY = "microscope_counts"
Params = reference.Params


@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    optics = replace(micrograph.optics, voltage_kV=300.0)
    return reference.estimate_ctf(replace(micrograph, optics=optics), params, ctx)
