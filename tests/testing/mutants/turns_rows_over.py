"""Reads the last row first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoframe import FrameSource, hookimpl
from cryoframe_formats import mrc_movie as reference

CAUGHT_BY = "card_as_written"


class Turned:
    def __init__(self, source: FrameSource) -> None:
        self.source = source
        self.n_frames, self.shape_px, self.pixel_size_A = source.n_frames, source.shape_px, source.pixel_size_A

    def read_frame(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self.source.read_frame(index)[::-1])


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    source = reference.open_movie(path)
    return None if source is None else Turned(source)
