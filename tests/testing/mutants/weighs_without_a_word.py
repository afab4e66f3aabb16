"""Weighs frames by their exposure and does not say so."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "dose_weights"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    result = reference.correct_motion(movie, params, ctx)
    return replace(result, micrograph=replace(result.micrograph, dose_weighted=False))
