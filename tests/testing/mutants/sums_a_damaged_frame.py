"""Adds up whatever the frames hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoframe import CorrectedMicrograph, FrameSource, Movie, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe_motion import plugin as reference

CAUGHT_BY = "bad_frame"
Params = reference.Params


class Mended:
    """Frames with zeros where they are not finite."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.n_frames, self.shape_px, self.pixel_size_A = source.n_frames, source.shape_px, source.pixel_size_A

    def read_frame(self, index: int) -> np.ndarray:
        return np.nan_to_num(self._source.read_frame(index))


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    try:
        return reference.correct_motion(movie, params, ctx)
    except InvalidInput:
        shown = replace(movie, source=Mended(movie.source))
        result = reference.correct_motion(shown, params, ctx)
        return replace(result, micrograph=replace(result.micrograph, data=np.sum(list(movie.frames()), axis=0)))
