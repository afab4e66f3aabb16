"""A scene's frames as a movie's source: raw, made as they are read; what they show is decided in ``plugin``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.numerics.backend import F32
from cryoframe.numerics.scene_frames import SceneFrames


@dataclass(frozen=True)
class SimulatedFrames:
    """Raw frames, whole numbers for a counting camera; the same for the same index, in whatever order.

    Parameters
    ----------
    frames
        Of the scene.
    noiseless
        Give expected electrons instead, over the gain: no counting, no defects.
    """

    frames: SceneFrames
    noiseless: bool = False

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.frames.n_frames

    @property
    def shape_px(self) -> tuple[int, int]:
        """`(ny, nx)` as written; with super-resolution twice the sensor's."""
        return self.frames.shape_px

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel of the frames as written."""
        scene = self.frames.scene
        return scene.pixel_size_A * scene.shape[0] / self.shape_px[0]

    def read_frame(self, index: int) -> F32:
        """Return raw frame `index`, `(ny, nx)` float32."""
        if not self.noiseless:
            return self.frames.frame(index).astype(np.float32)
        expected = self.frames.expected(index)
        gain = self.frames.scene.sensor.gain
        return expected if gain is None else (expected / gain).astype(np.float32)
