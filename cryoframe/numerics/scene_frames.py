"""Raw frames of a scene, made as they are asked for; the scene itself is in scene, single events in scene_events."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32
from cryoframe.numerics.detector import coincidence_curve, count_frame_densely
from cryoframe.numerics.exposure import expected_electrons, stamp, weak_phase_contrast
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import Scene, stream_names

RawFrame = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]


class SceneFrames:
    """Raw frames of a scene: neither gain-corrected nor repaired; the same for the same index, in whatever order.

    Going forward is cheap; going back starts the ice anew from the first frame.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def __reduce__(self) -> tuple[type[SceneFrames], tuple[Scene]]:
        return SceneFrames, (self.scene,)

    @property
    def n_frames(self) -> int:
        """Frames of the movie."""
        return self.scene.n_frames

    @property
    def shape_px(self) -> tuple[int, int]:
        """`(ny, nx)` of the raw frames."""
        factor = self.scene.sensor.camera.super_resolution
        return self.scene.shape[0] * factor, self.scene.shape[1] * factor

    @property
    def recorded_e_px(self) -> float:
        """Events (grey values over the gain, where the camera integrates) per physical pixel and frame, on average."""
        scene = self.scene
        elastic, lossy = scene.shares()
        return float(scene.incident_e_px().mean() * (elastic + lossy).mean() * scene.sensor.camera.detection_frac)

    @property
    def coincidence_loss_frac(self) -> float:
        """Share of the detected electrons that is lost to coincidence."""
        return 0.0

    def expected(self, index: int) -> F32:
        """Detected electrons `(ny, nx)` expected in each physical pixel of a frame, before coincidence and gain."""
        scene = self.scene
        if not 0 <= index < scene.n_frames:
            raise InvalidInput(f"frame {index} was asked for", expected=f"0 to {scene.n_frames - 1}")
        field: F32 = np.zeros(scene.shape, dtype=np.float32)
        for group in scene.particles:
            for part in group.parts:
                stamp(field, part.of(np.arange(len(group))), group.x_A, group.y_A, scene.pixel_size_A)
        contrast = weak_phase_contrast([(0.0, field)], scene.pixel_size_A, scene.lens)
        elastic, lossy = scene.shares()
        flat = expected_electrons(contrast, float(scene.incident_e_px()[index]), 1.0)
        total: F32 = flat * (elastic + lossy) * np.float32(scene.sensor.camera.detection_frac)
        return total

    def frame(self, index: int) -> RawFrame:
        """Raw frame `(ny, nx)` of the type that the sensor's `raw_dtype` names."""
        scene, camera = self.scene, self.scene.sensor.camera
        expected = self.expected(index) / np.float32(camera.detection_frac)
        counts = count_frame_densely(
            expected,
            camera,
            generator(scene.seed, *stream_names(scene.name), 1, index),
            exposure_s=scene.frame_time_s,
            curve=coincidence_curve(camera, generator(0)),
        )
        return np.minimum(counts, 255).astype(np.uint8)

    def __iter__(self) -> Iterator[RawFrame]:
        for index in range(self.n_frames):
            yield self.frame(index)
