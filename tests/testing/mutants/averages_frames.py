"""The mean of the frames in place of their sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "counts_kept"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    result = reference.correct_motion(movie, params, ctx)
    mean = replace(result.micrograph, data=result.micrograph.data / np.float32(movie.n_frames), dose_weighted=False)
    return replace(result, micrograph=mean, unweighted=None)
