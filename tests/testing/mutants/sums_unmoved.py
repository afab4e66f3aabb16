"""Finds the shifts and sums the frames as they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "sum_sharper"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    result = reference.correct_motion(movie, params, ctx)
    plain = replace(result.micrograph, data=np.sum(list(movie.frames()), axis=0), dose_weighted=False)
    return replace(result, micrograph=plain, unweighted=None)
