"""Frames of a scene by multislice: every slice of the specimen scatters the wave that the slices before it left.

Slow, for thick specimens and high resolution; the weak-phase road is ``numerics.scene_frames``, which this takes the
camera from. The curvature of the Ewald sphere follows from the propagation; what is weaker than a thin film's phase
agrees with the weak-phase road.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cryoframe import Exposure, Specimen
from cryoframe.errors import InvalidInput
from cryoframe.numerics import interpolate, multislice
from cryoframe.numerics.backend import C64, F32, Complexes, Floats, Ints, Reals
from cryoframe.numerics.detector_response import spread_transfer
from cryoframe.numerics.exposure import delocalised, expected_electrons
from cryoframe.numerics.field import beam_path_A
from cryoframe.numerics.fourier import ifft3_centred, irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A, frequency_axes_1_A
from cryoframe.numerics.ice import (
    amorphous_projection,
    ice_displacement_A2,
    ice_memory,
    moved_ice,
    pixel_positions_A,
)
from cryoframe.numerics.motion_model import blur_transfer
from cryoframe.numerics.noise import generator
from cryoframe.numerics.projection import prepare_volume
from cryoframe.numerics.scene import FadingPatches, ParticleGroup, Scene, stream_names
from cryoframe.numerics.scene_frames import SceneFrames
from cryoframe.numerics.scene_grid import SceneGrid
from cryoframe.numerics.scene_particles import left_of
from cryoframe.numerics.warp import warp
from cryoframe_simulate.sample import Projector

#: The grid is periodic; what lies beyond one edge of the frame must not reach the other.
_MARGIN_PX = 64
#: What is held at once for each part that fades: 2 GB.
_MOST_VOXELS = 5e8
_N_WARP = 17
#: Keeps the streams of this module's ice apart from those of the weak-phase road.
_ICE_STREAM = 77


@dataclass(frozen=True)
class Slices:
    """Slices of all that fades alike.

    Parameters
    ----------
    potential
        `(n_slices, ny, nx)` projected potentials [1/Å], the lowest z first, as the beam meets them.
    lifetime_e_A2, b_rate_A4_e
        As of ``numerics.scene.FadingPatches``.
    bears_all
        The beam does not change it.
    """

    potential: F32
    lifetime_e_A2: float = math.inf
    b_rate_A4_e: float = 0.0
    bears_all: bool = False


def check_size(specimens: Sequence[Specimen], exposure: Exposure, slice_A: float) -> None:
    """Refuse a field whose slices cannot be held, before anything is drawn.

    Raises
    ------
    InvalidInput
        Saying how many slices of which size there would be.
    """
    box_px = max((specimen.volume.data.shape[0] for specimen in specimens), default=0)
    depth_A = exposure.ice_thickness_A / math.cos(math.radians(exposure.stage_tilt_deg))
    n_slices = math.ceil((depth_A + box_px * exposure.pixel_size_A) / slice_A)
    ny, nx = (n + max(_MARGIN_PX, box_px) for n in exposure.shape_px)
    if n_slices * ny * nx > _MOST_VOXELS:
        raise InvalidInput(
            f"{n_slices} slices of {ny} × {nx} pixels were asked for",
            expected=f"at most {_MOST_VOXELS:.0e} pixels in all",
            remedy="Simulate a smaller field, or raise slice_A.",
        )


def rotated_volume(projector: Projector, prepared: C64, row: int, shift_A: Reals) -> F32:
    """Potential `(n, n, n)` [1/Å²] of a particle in its pose, (z, y, x), moved by (x, y, z) `shift_A`.

    Its transform is read at Aᵀ·k as that of a projection is, but at every k_z.
    """
    n = projector.volume.shape[0]
    kx, k = np.arange(n // 2 + 1), np.arange(n) - n // 2
    z, y, x = np.meshgrid(k, k, kx, indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    inside = np.flatnonzero(np.sum(points * points, axis=1) < (n // 2) ** 2)
    padding = prepared.shape[0] / n
    read = interpolate.read(np, prepared, padding * (points[inside] @ projector.rotations[row]))
    turn = points[inside] @ (np.asarray(shift_A) / (n * projector.pixel_size_A))
    ft = np.zeros(points.shape[0], dtype=np.complex64)
    ft[inside] = read * np.exp(-2j * np.pi * turn)
    volume: F32 = ifft3_centred(ft.reshape(n, n, n // 2 + 1)).astype(np.float32)
    return volume


class ThickFrames(SceneFrames):
    """Raw frames as of :class:`SceneFrames`, their expected electrons found by multislice.

    Parameters
    ----------
    scene
        Its groups' patches are :class:`Projector`.
    slice_A
        Thickness of a slice, rounded to an odd number of pixels.
    """

    def __init__(self, scene: Scene, slice_A: float) -> None:
        super().__init__(scene)
        self._slice_A = slice_A
        self._planes = 2 * max(0, round(0.5 * (slice_A / scene.pixel_size_A - 1.0))) + 1
        margin = max([_MARGIN_PX, *(_projector(group.parts[0]).volume.shape[0] for group in scene.particles)])
        self._wide = SceneGrid(scene.shape, scene.pixel_size_A, margin)
        self._whole = self._wide.whole
        self._n_slices = self._count()
        self._built: list[Slices] | None = None
        self._ice: tuple[int, list[F32]] | None = None

    def __reduce__(self) -> tuple[type[ThickFrames], tuple[Scene, float]]:  # type: ignore[override]
        return ThickFrames, (self.scene, self._slice_A)

    @property
    def thickness_A(self) -> float:
        """Thickness of a slice."""
        return self._planes * self.scene.pixel_size_A

    def expected(self, index: int) -> F32:
        """Detected electrons expected in each physical pixel of a frame, before coincidence and gain."""
        scene = self.scene
        lens = scene.lens.at(float(scene.defocus_change_A()[index]))
        wave = multislice.exit_wave(
            self._potentials(index),
            scene.pixel_size_A,
            self.thickness_A,
            voltage_kV=lens.voltage_kV,
            amplitude_contrast=lens.amplitude_contrast,
        )
        contrast = self._as_moved(multislice.image_contrast(wave, scene.pixel_size_A, lens), index)
        if self._counted_twice is not None:
            contrast = (contrast + np.float32(1.0)) * np.exp(self._counted_twice) - np.float32(1.0)
        elastic, lossy = scene.shares()
        incident = float(scene.incident_e_px()[index])
        expected = elastic * expected_electrons(contrast, incident, 1.0)
        if lossy.any():
            blurred = delocalised(contrast, scene.pixel_size_A, sigma_A=scene.loss.sigma_A)
            expected = expected + lossy * expected_electrons(blurred, incident, 1.0)
        detected: F32 = (expected * np.float32(scene.sensor.camera.detection_frac)).astype(np.float32)
        return detected

    def _count(self) -> int:
        scene = self.scene
        reach_A = [0.5 * float(self._path().max())] if scene.effects.ice else [0.0]
        for group in scene.particles:
            box_A = _projector(group.parts[0]).volume.shape[0] * scene.pixel_size_A
            reach_A.append(float(np.abs(group.z_A).max()) + 0.5 * box_A)
        half = max(reach_A) + float(np.abs(self._middle()).max())
        return 2 * math.ceil(half / self.thickness_A) + 1

    def _places(self) -> tuple[Reals, Reals]:
        return pixel_positions_A(self._whole, self.scene.pixel_size_A)

    def _path(self) -> Reals:
        """Thickness along the beam on the whole grid."""
        scene = self.scene
        path = beam_path_A(scene.film, *self._places(), scene.extent_A, scene.stage)
        return np.broadcast_to(path, self._whole)

    def _middle(self) -> Reals:
        """Height of the film's middle on the whole grid."""
        x, y = self._places()
        extent_y, extent_x = self.scene.extent_A
        height = self.scene.stage.specimen_plane(x - 0.5 * extent_x, y - 0.5 * extent_y)[2]
        return np.broadcast_to(height, self._whole)

    def _potentials(self, index: int) -> Iterator[F32]:
        """Slices of a frame in the order the beam meets them."""
        if self._built is None:
            self._built = list(self._build())
        factors = [self._left(part, index) for part in self._built]
        ice = self._ice_of(index) if self.scene.effects.ice else []
        stirred = self._stirred(index)
        for number in range(self._n_slices):
            ft: Complexes = np.zeros((self._whole[0], self._whole[1] // 2 + 1), dtype=np.complex64)
            for part, factor in zip(self._built, factors, strict=True):
                if part.potential[number].any():
                    ft += rfft2(part.potential[number]) * factor
            if ice:
                ft += rfft2(ice[number]) * stirred
            yield irfft2(ft, self._whole).astype(np.float32)

    def _stirred(self, index: int) -> F32:
        """What is left of the ice's amplitude in the mean over a frame, while its molecules move.

        The power of the mean of a process that keeps e^−α of itself over the frame is 2·(α − 1 + e^−α)/α² (Uhlenbeck &
        Ornstein, Phys. Rev. 36, 823 (1930), doi 10.1103/PhysRev.36.823).
        """
        k = frequencies_1_A(self._whole, self.scene.pixel_size_A, False)
        dose_e_A2 = float(np.diff(self.scene.dose_edges_e_A2)[index]) if self.scene.effects.ice_motion else 0.0
        kept = ice_memory(k, dose_e_A2, displacement_A2=ice_displacement_A2(self.scene.lens.voltage_kV))
        alpha = np.maximum(-np.log(np.maximum(kept, 1e-300)), 1e-3)
        left: F32 = np.sqrt(2.0 * (alpha + np.expm1(-alpha)) / alpha**2).astype(np.float32)
        return left

    def _left(self, part: Slices, index: int) -> F32:
        """What the beam has left of a part during a frame, of the layout of its transform."""
        scene = self.scene
        k = frequencies_1_A(self._whole, scene.pixel_size_A, False)
        start, stop = (float(edge) for edge in scene.dose_edges_e_A2[index : index + 2])
        return left_of(part, scene, k, start, stop)

    def _build(self) -> Iterator[Slices]:
        scene = self.scene
        kinds: dict[tuple[float, float], F32] = {}
        for group in scene.particles if scene.effects.particles else ():
            for part in group.parts:
                key = (part.lifetime_e_A2, part.b_rate_A4_e)
                if key not in kinds:
                    kinds[key] = np.zeros((self._n_slices, *self._whole), dtype=np.float32)
                self._add(kinds[key], group, part)
        for (lifetime, rate), potential in kinds.items():
            yield Slices(potential, lifetime, rate)
        if scene.support is not None:
            support = np.zeros((self._n_slices, *self._whole), dtype=np.float32)
            support[self._n_slices // 2] = self._wide.mirrored(scene.support)
            yield Slices(support, bears_all=True)

    def _add(self, slices: F32, group: ParticleGroup, part: FadingPatches) -> None:
        projector, pixel = _projector(part), self.scene.pixel_size_A
        prepared = prepare_volume(projector.volume)
        places = np.stack([group.x_A, group.y_A, group.z_A], axis=1)
        whole = np.round(places / pixel).astype(np.int64)
        for row in range(len(group)):
            volume = rotated_volume(projector, prepared, row, places[row] - whole[row] * pixel)
            self._lay(slices, volume, whole[row])

    def _lay(self, slices: F32, volume: F32, whole: Ints) -> None:
        """Add the planes of a volume to their slices, its origin at whole (x, y, z); the grid is periodic."""
        n, pixel = volume.shape[0], np.float32(self.scene.pixel_size_A)
        planes = whole[2] + np.arange(n) - n // 2
        numbers = np.floor_divide(planes + self._planes // 2, self._planes) + self._n_slices // 2
        rows = (whole[1] + np.arange(n) - n // 2) % self._whole[0]
        columns = (whole[0] + np.arange(n) - n // 2) % self._whole[1]
        for number in np.unique(numbers):
            if 0 <= number < self._n_slices:
                slices[number][np.ix_(rows, columns)] += volume[numbers == number].sum(axis=0) * pixel

    def _ice_of(self, index: int) -> list[F32]:
        """Ice of each slice in a frame; it moves on from frame to frame."""
        scene = self.scene
        if self._ice is None or self._ice[0] > index:
            self._ice = (0, self._fresh_ice(0))
        reached, ice = self._ice
        if not scene.effects.ice_motion:
            return ice
        moves_A2 = ice_displacement_A2(scene.lens.voltage_kV)
        for frame in range(reached + 1, index + 1):
            dose = float(scene.middle_dose_e_A2()[frame] - scene.middle_dose_e_A2()[frame - 1])
            fresh = self._fresh_ice(frame)
            ice = [
                moved_ice(old, new, scene.pixel_size_A, dose_e_A2=dose, displacement_A2=moves_A2)
                for old, new in zip(ice, fresh, strict=True)
            ]
        self._ice = (index, ice)
        return ice

    def _fresh_ice(self, frame: int) -> list[F32]:
        scene, path, middle = self.scene, self._path(), self._middle()
        amount: Floats = np.ones(self._whole, dtype=np.float32)
        if scene.ice_amount is not None:
            amount[: scene.shape[0], : scene.shape[1]] = scene.ice_amount
        found = []
        for number in range(self._n_slices):
            low = (number - self._n_slices // 2 - 0.5) * self.thickness_A
            within = np.minimum(middle + 0.5 * path, low + self.thickness_A) - np.maximum(middle - 0.5 * path, low)
            rng = generator(scene.seed, *stream_names(scene.name), _ICE_STREAM, frame, number)
            thickness = np.maximum(within, 0.0) * amount
            found.append(amorphous_projection(self._whole, scene.pixel_size_A, thickness, rng=rng))
        return found

    def _as_moved(self, contrast: F32, index: int) -> F32:
        """The image where the specimen is in a frame, blurred by its motion, as the camera's pixels see it."""
        scene, pixel = self.scene, self.scene.pixel_size_A
        kx, ky = frequency_axes_1_A(self._whole, pixel, centred_half=False)
        factor = (
            np.sinc(kx * pixel) * np.sinc(ky * pixel) * spread_transfer(scene.sensor.camera, np.hypot(kx, ky) * pixel)
        )
        if scene.effects.blur:
            extent_y, extent_x = scene.extent_A
            factor = factor * blur_transfer(kx, ky, scene.streak_A(0.5 * extent_x, 0.5 * extent_y)[index])
        seen = irfft2(rfft2(contrast) * factor.astype(np.float32), self._whole).astype(np.float32)
        y, x = (np.linspace(0.0, (n - 1) * pixel, _N_WARP) for n in self._whole)
        moved_px = scene.displacement_A(x[None, :], y[:, None])[:, :, index] / pixel
        if np.any(moved_px):
            seen = warp(seen, moved_px)
        return np.ascontiguousarray(seen[: scene.shape[0], : scene.shape[1]])


def _projector(part: FadingPatches) -> Projector:
    patches = part.patches
    if not isinstance(patches, Projector):
        raise InvalidInput(
            "multislice was given projections of particles", expected="their maps and poses (sample.Projector)"
        )
    return patches
