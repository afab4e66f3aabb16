"""A scene: everything that decides what a camera would write of one exposure, as arrays and numbers; no frame is made.

``scene_frames.SceneFrames`` makes the raw frames of a scene, ``scene_events.SceneEvents`` its events. Places are those
of the micrograph, x along the fast axis and y along rows, from the centre of pixel [0, 0]; z runs along the beam and
adds to the defocus (:mod:`cryoframe.numerics.field`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.backend import F32, Reals
from cryoframe.numerics.camera_faults import Defects, Pedestal
from cryoframe.numerics.camera_presets import Camera
from cryoframe.numerics.detector import CoincidenceCurve
from cryoframe.numerics.field import StageTilt, beam_path_A
from cryoframe.numerics.ice import AMORPHOUS_CARBON, IceFilm, beam_fractions, zero_loss_frac
from cryoframe.numerics.lens import Lens, phase_per_potential_A
from cryoframe.numerics.motion_model import Motion
from cryoframe.numerics.scene_checks import check_scene
from cryoframe.numerics.scene_grid import lattice_px, on_pixels

#: Projected potentials `(m, b, b)` [1/Å] of the particles with the indices given, origin at b//2.
MakePatches = Callable[[npt.NDArray[np.int64]], F32]


@dataclass(frozen=True, slots=True)
class FadingPatches:
    """A part of each particle of one group: its potentials, and how the beam destroys it beyond the common damage.

    Parameters
    ----------
    patches
        `(m, b, b)` float32 projected potentials [1/Å] on the pixels of the scene, origin at b//2; or a function that
        gives those of some of the particles, so that they need not be held all at once.
    lifetime_e_A2
        Exposure after which 1/e of it is left, at 300 kV and 80 K; infinite for the rest of the particle.
    b_rate_A4_e
        Growth of its B-factor, Å² per e/Å².
    """

    patches: F32 | MakePatches
    lifetime_e_A2: float = math.inf
    b_rate_A4_e: float = 0.0

    def of(self, index: npt.NDArray[np.int64]) -> F32:
        """Patches of the particles with these indices."""
        return self.patches(index) if callable(self.patches) else self.patches[index]


@dataclass(frozen=True, slots=True)
class ParticleGroup:
    """Particles whose patches have one size: one species as a rule.

    Parameters
    ----------
    x_A, y_A, z_A
        `(m,)` each; z from the middle of the ice in the centre of the field, added to the lens's defocus.
    parts
        Same particles, same places: what stays first, then what fades.
    """

    x_A: Reals
    y_A: Reals
    z_A: Reals
    parts: tuple[FadingPatches, ...]

    def __len__(self) -> int:
        return len(self.x_A)


@dataclass(frozen=True, slots=True)
class Loss:
    """Energy loss in ice and support, and what becomes of the electrons that suffered it.

    Parameters
    ----------
    mean_free_path_A
        Of energy loss, :func:`cryoframe.numerics.ice.inelastic_mean_free_path_A`.
    passed_frac
        Share of them that reach the camera: 0 with an energy slit, 1 without a filter.
    aperture_mean_free_path_A
        Of scattering outside the objective aperture.
    sigma_A
        Their contrast is blurred by a Gaussian of this standard deviation, :func:`exposure.delocalised`.
    support_mean_free_path_A
        Of energy loss in the support, :func:`cryoframe.numerics.ice.carbon_mean_free_path_A`. What the support
        scatters outside the aperture is left out.
    """

    mean_free_path_A: float = 3950.0
    passed_frac: float = 0.0
    aperture_mean_free_path_A: float = math.inf
    sigma_A: float = 20.0
    support_mean_free_path_A: float = 1870.0


@dataclass(frozen=True, slots=True)
class Sensor:
    """The camera as it is: preset, references, faults.

    Parameters
    ----------
    camera
        Preset.
    gain
        `(ny, nx)` reference that raw frames are multiplied by, of mean 1, lying as the frames do.
    defects
        Dead and hot pixels of the shape of the sensor.
    dead_block_px
        First row, first column, rows, columns that give nothing.
    pedestal
        Of an integrating camera.
    raw_dtype
        ``"uint8"`` or ``"uint16"`` for counts, which stop at the largest value; ``"float32"`` for grey values.
    curve
        Coincidence; found from the preset where omitted.
    """

    camera: Camera
    gain: F32 | None = None
    defects: Defects | None = None
    dead_block_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    pedestal: Pedestal | None = None
    raw_dtype: str = "uint8"
    curve: CoincidenceCurve | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """Which effects are on. ``coincidence`` off counts every detected electron; ``gain`` off makes all pixels alike."""

    particles: bool = True
    ice: bool = True
    ice_motion: bool = True
    damage: bool = True
    motion: bool = True
    blur: bool = True
    inelastic: bool = True
    coincidence: bool = True
    gain: bool = True
    defects: bool = True


@dataclass(frozen=True, slots=True)
class Scene:
    """One exposure, ready to be recorded.

    Parameters
    ----------
    name, seed
        Name the streams of random numbers; equal scenes give equal frames.
    shape
        `(ny, nx)` of the frames in pixels of the sensor; with super-resolution files have twice that.
    pixel_size_A
        On the specimen.
    dose_edges_e_A2
        `(f + 1,)` exposure at the beginning of the first frame and at the end of each.
    frame_time_s
        Of each frame; gives its number of internal frames.
    sensor, lens
        Camera and microscope; the lens's defocus is that of z = 0 in the first frame. Its magnification matrix acts
        on the transfer function; places and patches are those of the micrograph, already magnified by it.
    film, stage
        Ice and its tilt.
    particles
        Groups of particles.
    support
        `(ny, nx)` projected potential [1/Å] of what else lies in the beam (carbon, crystalline ice), at z of the film's
        middle, neither damaged nor changed by the beam; it moves with the specimen.
    ice_amount
        `(ny, nx)` factor on the power of the ice's noise, 0 where there is none; 1 where omitted.
    support_path_A
        `(ny, nx)` thickness of carbon along the beam, whose mean potential is part of `support`; 0 where omitted.
    motion
        Of the specimen; its edges are those of the scene.
    stage_jump_A, stage_jump_frame
        (x, y) displacement from the beginning of that frame on.
    charging_A3_e
        Outward displacement at the middle of the longer side's edge [Å per e/Å²], proportional to the distance from
        the centre of the field.
    defocus_drift_A
        Defocus in the middle of the last frame against that of the first, even in exposure.
    temperature_K
        Of the specimen.
    loss
        Energy loss.
    effects
        Switches.
    refresh_defocus_A
        The transfer function is made anew where the mean defocus has changed by more than half of it; at 3 Å and
        300 kV 20 Å turn the phase by 0.07 rad to either side.
    """

    name: str
    seed: int
    shape: tuple[int, int]
    pixel_size_A: float
    dose_edges_e_A2: Reals
    frame_time_s: float
    sensor: Sensor
    lens: Lens
    film: IceFilm = field(default_factory=IceFilm)
    stage: StageTilt = field(default_factory=StageTilt)
    particles: tuple[ParticleGroup, ...] = ()
    support: F32 | None = None
    ice_amount: F32 | None = None
    support_path_A: F32 | None = None
    motion: Motion | None = None
    stage_jump_A: tuple[float, float] = (0.0, 0.0)
    stage_jump_frame: int = 0
    charging_A3_e: float = 0.0
    defocus_drift_A: float = 0.0
    temperature_K: float = 80.0
    loss: Loss = field(default_factory=Loss)
    effects: Effects = field(default_factory=Effects)
    refresh_defocus_A: float = 20.0

    def __post_init__(self) -> None:
        check_scene(self)

    @property
    def n_frames(self) -> int:
        """Frames of the movie."""
        return len(self.dose_edges_e_A2) - 1

    @property
    def extent_A(self) -> tuple[float, float]:
        """(y, x) size of the field."""
        return self.shape[0] * self.pixel_size_A, self.shape[1] * self.pixel_size_A

    def incident_e_px(self) -> Reals:
        """Electrons on the specimen per pixel in each frame, `(f,)`."""
        doses: Reals = np.diff(self.dose_edges_e_A2) * self.pixel_size_A**2
        return doses

    def shares(self) -> tuple[F32, F32]:
        """Shares of the electrons that reach the camera without and with energy loss, `(ny, nx)` each."""
        if not self.effects.inelastic:
            return np.ones(self.shape, dtype=np.float32), np.zeros(self.shape, dtype=np.float32)
        elastic, lossy = beam_fractions(
            self.beam_path_A(self.shape),
            self.loss.mean_free_path_A,
            passed_loss_frac=self.loss.passed_frac,
            aperture_mean_free_path_A=self.loss.aperture_mean_free_path_A,
        )
        unlost, lost = on_pixels(elastic, self.shape), on_pixels(lossy, self.shape)
        if self.support_path_A is not None:
            left = zero_loss_frac(self.support_path_A, self.loss.support_mean_free_path_A).astype(np.float32)
            lost += np.float32(self.loss.passed_frac) * unlost * (np.float32(1.0) - left)
            unlost *= left
        return unlost, lost

    def counted_twice(self) -> F32 | None:
        """What the amplitude contrast of the carbon's mean takes of the beam, 2·γλ·w·V̄·t `(ny, nx)`; None = nothing.

        Amplitude contrast at zero frequency stands for energy loss, which :meth:`shares` states: an image gets it back.
        """
        if self.support_path_A is None or not self.effects.inelastic:
            return None
        phase = phase_per_potential_A(self.lens.voltage_kV) * AMORPHOUS_CARBON.mean_potential_1_A2
        return np.float32(2.0 * phase * self.lens.amplitude_contrast) * self.support_path_A

    def beam_path_A(self, shape: tuple[int, int]) -> Reals:
        """Thickness of the ice along the beam at the :func:`scene_grid.lattice_px` of the first `shape` pixels."""
        y, x = (lattice_px(n) * self.pixel_size_A for n in shape)
        path = beam_path_A(self.film, x[None, :], y[:, None], self.extent_A, self.stage)
        return np.broadcast_to(path, (len(y), len(x)))

    def height_A(self, shape: tuple[int, int]) -> Reals:
        """Height of the middle of the ice at the same places: adds to the defocus of what lies there."""
        y, x = (lattice_px(n) * self.pixel_size_A for n in shape)
        centre_y, centre_x = 0.5 * self.extent_A[0], 0.5 * self.extent_A[1]
        height = self.stage.specimen_plane(x[None, :] - centre_x, y[:, None] - centre_y)[2]
        return np.broadcast_to(height, (len(y), len(x)))

    def displacement_A(self, x_A: npt.ArrayLike, y_A: npt.ArrayLike) -> Reals:
        """Mean displacement in each frame of what began at these places, `(…, f, 2)` (x, y): the truth of the frames.

        Motion, stage jump and charging; their negative is what motion correction reports.
        """
        x, y = np.broadcast_arrays(np.asarray(x_A, dtype=np.float64), np.asarray(y_A, dtype=np.float64))
        total: Reals = np.zeros((*x.shape, self.n_frames, 2))
        if not self.effects.motion:
            return total
        if self.motion is not None:
            total += self.motion.displacement_A(x, y)
        total[..., self.stage_jump_frame :, :] += np.asarray(self.stage_jump_A)
        if self.charging_A3_e:
            total += self._pull(x, y)[..., None, :] * self.middle_dose_e_A2()[:, None]
        return total

    def streak_A(self, x_A: float, y_A: float) -> Reals:
        """Displacement during each frame at a place, `(f, 2)`; a stage jump lies between frames."""
        streak: Reals = np.zeros((self.n_frames, 2))
        if self.effects.motion and self.motion is not None:
            streak += self.motion.streak_A(x_A, y_A)
        if self.effects.motion and self.charging_A3_e:
            pull = self._pull(np.float64(x_A), np.float64(y_A))
            streak += pull * np.diff(self.dose_edges_e_A2)[:, None]
        return streak

    def middle_dose_e_A2(self) -> Reals:
        """Exposure in the middle of each frame, against the beginning of the movie, `(f,)`."""
        edges = self.dose_edges_e_A2
        middle: Reals = 0.5 * (edges[1:] + edges[:-1]) - edges[0]
        return middle

    def defocus_change_A(self) -> Reals:
        """Mean change of defocus over the field in each frame against the lens's, drift and doming, `(f,)`."""
        middle = self.middle_dose_e_A2()
        span = middle[-1] - middle[0]
        change: Reals = self.defocus_drift_A * (middle - middle[0]) / span if span > 0 else np.zeros(1)
        if self.effects.motion and self.motion is not None:
            y, x = (np.linspace(0.0, extent, 17) for extent in self.extent_A)
            change = change + self.motion.height_A(x[None, :], y[:, None]).mean(axis=(0, 1))
        return change

    def _pull(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Reals:
        """Speed of charging [Å per e/Å²] at places, `(…, 2)`."""
        extent_y, extent_x = self.extent_A
        half = 0.5 * max(extent_x, extent_y)
        away = np.stack([np.asarray(x) - 0.5 * extent_x, np.asarray(y) - 0.5 * extent_y], axis=-1)
        pull: Reals = self.charging_A3_e * away / half
        return pull


def stream_names(name: str) -> tuple[int, ...]:
    """Four integers that stand for a name in :func:`cryoframe.numerics.noise.generator`; the same on every machine."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
