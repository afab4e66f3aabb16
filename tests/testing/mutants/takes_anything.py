"""Judges by nothing and reads every file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoframe import FrameSource, hookimpl

CAUGHT_BY = "foreign_files_declined"


class Raw:
    n_frames = 1
    shape_px = (4, 4)
    pixel_size_A = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_frame(self, index: int) -> np.ndarray:
        return np.resize(np.frombuffer(self.path.read_bytes(), dtype=np.uint8), (4, 4)).astype(np.float32)


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    return Raw(path)
