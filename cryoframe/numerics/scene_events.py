"""Events of a scene's frames, internal frame by internal frame; the frames themselves are in scene_frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.detector import internal_frames
from cryoframe.numerics.scene_frames import SceneFrames


class SceneEvents:
    """Events of a counting camera one internal frame after the other, as :class:`cryoframe.data.twin.EventSource`."""

    def __init__(self, frames: SceneFrames) -> None:
        self.frames = frames

    @property
    def n_per_frame(self) -> int:
        """Internal frames to one frame of the scene."""
        scene = self.frames.scene
        return internal_frames(scene.sensor.camera, scene.frame_time_s)

    @property
    def n_internal_frames(self) -> int:
        """Internal frames of the whole exposure."""
        return self.n_per_frame * self.frames.n_frames

    @property
    def shape_px(self) -> tuple[int, int]:
        """Sensor `(ny, nx)`."""
        return self.frames.scene.shape

    def read_events(self, index: int) -> npt.NDArray[np.int32]:
        """Return `(m, 2)` (row, column) of the events of an internal frame in quarter pixels, pixel by pixel."""
        frame, internal = divmod(index, self.n_per_frame)
        counts = self.frames.frame(frame)
        rows, columns = np.nonzero(counts % self.n_per_frame == internal)
        return (np.stack([rows, columns], axis=1) * 4).astype(np.int32)
