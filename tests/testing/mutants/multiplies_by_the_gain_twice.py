"""Takes frames that are corrected already for raw ones."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "gain_applied_once"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    gain = movie.gain
    squared = replace(movie, gain=replace(gain, data=gain.data**2)) if gain else movie
    return reference.correct_motion(squared, params, ctx)
