"""Raw frames of a scene, made as they are asked for; the scene itself is in scene, single events in scene_events."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from threading import Lock

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools
from cryoframe.numerics.detector import CoincidenceCurve, coincidence_curve, internal_frames
from cryoframe.numerics.detector_integrating import integrate_detected
from cryoframe.numerics.detector_thinning import Counts16, EventChances, counted_share, draw_counts, event_chances
from cryoframe.numerics.noise import generator
from cryoframe.numerics.scene import Scene, stream_names
from cryoframe.numerics.scene_grid import SceneGrid
from cryoframe.numerics.scene_spectrum import SceneContrast

RawFrame = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
_ARRIVALS, _PEDESTAL, _CURVE, _HOT = 1, 3, 4, 5
#: Electrons a coincidence curve is measured with at each rate; 0.1 % of the counts.
_CURVE_EVENTS = 150_000
#: A coincidence curve must reach beyond the mean rate, for what is bright in the field.
_HEADROOM = 4.0
#: Detected electrons a pixel and internal frame beyond which a counting camera counts next to nothing.
_MOST_RATE = 1.0


class SceneFrames:
    """Raw frames of a scene: neither gain-corrected nor repaired; the same for the same index, in whatever order.

    Nothing large is made before the first frame. Going forward is cheap; going back lets the ice begin anew. May be
    used by several threads, which then wait for each other.

    Notes
    -----
    A pixel's sensitivity is 1 over the gain: raw counts times the gain have the mean of a camera of even pixels. Counts
    are drawn as :mod:`cryoframe.numerics.detector_thinning` says; blur that a camera adds in rendering is not part of
    whole counts and is left out. Left out as well: defocus, blur within a frame and the share of lossy contrast differ
    over the field (the mean or the centre's is taken; tilt is heeded), and motion of single particles against the ice.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        camera = scene.sensor.camera
        #: Internal frames to a frame; 1 for a camera that integrates.
        self.n_internal = internal_frames(camera, scene.frame_time_s) if camera.counting else 1
        self._lock = Lock()
        self._check_rate()

    def __reduce__(self) -> tuple[type[SceneFrames], tuple[Scene]]:
        return SceneFrames, (self.scene,)

    def __iter__(self) -> Iterator[RawFrame]:
        for index in range(self.n_frames):
            yield self.frame(index)

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
    def detected_e_px(self) -> float:
        """Electrons detected per pixel of the sensor and frame, on average."""
        passed = float(self._passed[0].mean(dtype=np.float64))
        return float(self.scene.incident_e_px().mean()) * passed * self.scene.sensor.camera.detection_frac

    @property
    def coincidence_loss_frac(self) -> float:
        """Share of the detected electrons that is lost to coincidence, at the mean rate."""
        share, end = counted_share(self._curve)
        at = np.linspace(0.0, end, len(share))
        return 1.0 - float(np.interp(self.detected_e_px / self.n_internal, at, share))

    @property
    def recorded_e_px(self) -> float:
        """Events, or electrons of a camera that integrates, recorded per pixel of the sensor and frame, on average."""
        return self.detected_e_px * (1.0 - self.coincidence_loss_frac)

    def expected(self, index: int) -> F32:
        """Electrons `(ny, nx)` detected in each pixel of the sensor in a frame, on average: no coincidence, no gain."""
        self._check_index(index)
        with self._lock:
            contrast = self._grid.crop(self._contrast.contrast(index))
            electrons = float(self.scene.incident_e_px()[index]) * self.scene.sensor.camera.detection_frac
            image: F32 = contrast + np.float32(1.0)
            if self._counted_twice is not None:
                image += self._counted_twice
            image *= self._passed[0]
            image *= np.float32(electrons)
            return np.maximum(image, np.float32(0.0), out=image)

    def counts(self, index: int) -> Counts16:
        """Counts of a frame before they are cut to the file's type, dead and hot pixels included, uint16."""
        scene, camera = self.scene, self.scene.sensor.camera
        camera.check_counting(True)
        chances = self._chances(self.expected(index))
        counts = draw_counts(chances, self._key(index), super_resolution=camera.super_resolution)
        if scene.effects.defects:
            self._spoil(counts, index)
        return counts

    def frame(self, index: int) -> RawFrame:
        """Raw frame `(ny, nx)` of the type that the sensor's `raw_dtype` names."""
        if not self.scene.sensor.camera.counting:
            return self._integrated(index)
        counts = self.counts(index)
        if self.scene.sensor.raw_dtype == "uint16":
            return counts
        return np.minimum(counts, np.uint16(255), out=counts).astype(np.uint8)

    @cached_property
    def _grid(self) -> SceneGrid:
        return SceneGrid(self.scene.shape, self.scene.pixel_size_A)

    @cached_property
    def _contrast(self) -> SceneContrast:
        return SceneContrast(self.scene, self._grid, self._passed[1])

    @cached_property
    def _passed(self) -> tuple[F32, float]:
        """Share of the electrons that reaches the camera, and which part of these on average lost no energy."""
        elastic, lossy = self.scene.shares()
        unlost = float(elastic.mean(dtype=np.float64))
        passed: F32 = np.add(elastic, lossy, out=elastic)
        return passed, unlost / max(float(passed.mean(dtype=np.float64)), 1e-30)

    @cached_property
    def _counted_twice(self) -> F32 | None:
        return self.scene.counted_twice()

    @cached_property
    def _sensitivity(self) -> F32 | None:
        gain = self.scene.sensor.gain
        return None if gain is None or not self.scene.effects.gain else np.float32(1.0) / gain

    @cached_property
    def _curve(self) -> CoincidenceCurve | None:
        """None where nothing is lost."""
        sensor = self.scene.sensor
        if not sensor.camera.counting or not self.scene.effects.coincidence:
            return None
        if sensor.curve is not None:
            return sensor.curve
        highest = max(0.02, _HEADROOM * self.detected_e_px / self.n_internal)
        # A stream of its own: all exposures of a session have the same curve.
        rng = generator(0, _CURVE)
        return coincidence_curve(sensor.camera, rng, highest_e_px=highest, n_points=8, n_events=_CURVE_EVENTS)

    @cached_property
    def _dead(self) -> Bools | None:
        sensor = self.scene.sensor
        row, column, rows, columns = sensor.dead_block_px
        if sensor.defects is None and not rows * columns:
            return None
        dead = np.zeros(self.scene.shape, dtype=np.bool_) if sensor.defects is None else sensor.defects.dead.copy()
        dead[row : row + rows, column : column + columns] = True
        return dead

    def _chances(self, expected: F32) -> EventChances:
        return event_chances(expected, self.n_internal, curve=self._curve, sensitivity=self._sensitivity)

    def _key(self, index: int) -> np.uint64:
        return self._rng(_ARRIVALS, index).integers(0, 2**64, dtype=np.uint64)

    def _rng(self, *names: int) -> np.random.Generator:
        return generator(self.scene.seed, *stream_names(self.scene.name), *names)

    def _spoil(self, counts: Counts16, index: int) -> None:
        """Add what hot pixels count and take away what dead ones do; a pixel counts once an internal frame."""
        factor = self.scene.sensor.camera.super_resolution
        defects = self.scene.sensor.defects
        if defects is not None and len(defects.hot):
            rows, columns = defects.hot.T * factor
            own = self._rng(_HOT, index).poisson(defects.hot_counts)
            most = self.n_internal if self._curve is not None else np.iinfo(np.uint16).max
            counts[rows, columns] = np.minimum(counts[rows, columns].astype(np.int64) + own, most).astype(np.uint16)
        if self._dead is not None:
            for part in range(factor**2):
                counts[part // factor :: factor, part % factor :: factor][self._dead] = 0

    def _integrated(self, index: int) -> F32:
        """Grey values of a camera that integrates, pedestal and defects included."""
        scene, sensor = self.scene, self.scene.sensor
        frame = integrate_detected(self.expected(index), sensor.camera, self._rng(_ARRIVALS, index))
        if self._sensitivity is not None:
            frame *= self._sensitivity
        if scene.effects.defects and sensor.defects is not None:
            rows, columns = sensor.defects.hot.T
            frame[rows, columns] += self._rng(_HOT, index).poisson(sensor.defects.hot_counts) * sensor.camera.gain_grey
        if scene.effects.defects and self._dead is not None:
            frame[self._dead] = 0.0
        if sensor.pedestal is not None:
            levels = sensor.pedestal.frames(scene.shape, scene.n_frames, self._rng(_PEDESTAL))
            frame += next(islice(levels, index, None))
        return frame

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.scene.n_frames:
            raise InvalidInput(f"frame {index} was asked for", expected=f"0 to {self.scene.n_frames - 1}")

    def _check_rate(self) -> None:
        camera = self.scene.sensor.camera
        rate = float(self.scene.incident_e_px().max()) * camera.detection_frac / self.n_internal
        if camera.counting and rate > _MOST_RATE:
            raise InvalidInput(
                f"{rate:.3g} electrons would be detected in a pixel and internal frame of camera {camera.name}",
                expected=f"at most {_MOST_RATE:g}; beyond, it counts next to nothing",
                remedy="Give a lower dose, smaller pixels or longer frames.",
            )
