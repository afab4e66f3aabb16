"""The sum comes turned by 180 degrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "orientation"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    result = reference.correct_motion(movie, params, ctx)
    data = np.ascontiguousarray(result.micrograph.data[::-1, ::-1])
    return replace(result, micrograph=replace(result.micrograph, data=data))
