"""Events of a scene's frames, internal frame by internal frame; the frames themselves are in scene_frames."""

from __future__ import annotations

from threading import Lock

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.detector_thinning import Events, events_of_counts
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import stream_names
from cryoframe.numerics.scene_frames import SceneFrames

_PLACES = 6


class SceneEvents:
    """Events of a counting camera one internal frame after the other, as ``data.twin.EventSource``.

    The events of a frame add up to its counts. Those of one frame of the scene are held at a time, so reading in order
    makes each frame once.
    """

    def __init__(self, frames: SceneFrames) -> None:
        camera = frames.scene.sensor.camera
        camera.check_counting(True)
        if camera.super_resolution != 1:
            raise InvalidInput(
                f"events of camera {camera.name} were asked for", expected="one that counts on its own pixels"
            )
        self.frames = frames
        self._held: tuple[int, list[Events]] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[SceneEvents], tuple[SceneFrames]]:
        return SceneEvents, (self.frames,)

    @property
    def n_per_frame(self) -> int:
        """Internal frames to one frame of the scene."""
        return self.frames.n_internal

    @property
    def n_internal_frames(self) -> int:
        """Internal frames of the whole exposure."""
        return self.n_per_frame * self.frames.n_frames

    @property
    def shape_px(self) -> tuple[int, int]:
        """Sensor `(ny, nx)`."""
        return self.frames.scene.shape

    def read_events(self, index: int) -> Events:
        """Return `(m, 2)` (row, column) of the events of an internal frame in quarter pixels, pixel by pixel."""
        if not 0 <= index < self.n_internal_frames:
            raise InvalidInput(f"internal frame {index} was asked for", expected=f"0 to {self.n_internal_frames - 1}")
        frame, internal = divmod(index, self.n_per_frame)
        with self._lock:
            if self._held is None or self._held[0] != frame:
                self._held = None
                self._held = frame, self._events(frame)
            return self._held[1][internal]

    def _events(self, frame: int) -> list[Events]:
        scene = self.frames.scene
        key = generator(scene.seed, *stream_names(scene.name), _PLACES, frame).integers(0, 2**64, dtype=np.uint64)
        return events_of_counts(self.frames.counts(frame), self.n_per_frame, key, distinct=scene.effects.coincidence)
