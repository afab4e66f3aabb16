"""Takes electrons a pixel for electrons an Å²."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "dose_weights"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    dose = movie.dose_per_frame_e_A2 * movie.pixel_size_A**2
    return reference.correct_motion(replace(movie, dose_per_frame_e_A2=dose), params, ctx)
