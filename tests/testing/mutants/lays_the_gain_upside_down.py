"""The reference's first row on the frames' last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "gain_applied_once"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    gain = movie.gain
    turned = replace(movie, gain=replace(gain, data=np.ascontiguousarray(gain.data[::-1]))) if gain else movie
    return reference.correct_motion(turned, params, ctx)
