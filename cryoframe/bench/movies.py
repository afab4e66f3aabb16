"""Counted movies of β-galactosidase in moving ice, written as LZW-compressed TIFF, with their truth; nothing is scored.

The microscope is that of the numerics' scene: ice that moves under the beam, damage, partial coherence, energy loss, a
counting camera of even pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench.cameras import camera_for
from cryoframe.bench.tracks import recorded_motion, truth_table
from cryoframe.data.optics import Optics
from cryoframe.data.tables import MotionTable
from cryoframe.data.twin import Recording, Specimen
from cryoframe.errors import ConfigError
from cryoframe.formats.star_motion import MotionRecords
from cryoframe.kernel.plugins import Plugins
from cryoframe.numerics import fourier, ice, noise
from cryoframe.numerics.ctf import Envelope
from cryoframe.numerics.exposure import particle_projections
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.motion_model import Motion, MotionModel, draw_motion
from cryoframe.numerics.projection import prepare_volume
from cryoframe.numerics.rotations import random_rotations
from cryoframe.numerics.scene import Effects, FadingPatches, Loss, ParticleGroup, Scene, Sensor
from cryoframe.numerics.scene_frames import SceneFrames

F32 = NDArray[np.float32]
PIXEL_A, ICE_A, SPACING_A, N_VIEWS, FRAME_TIME_S = 0.885, 400.0, 210.0, 24, 0.2
#: Whole exposure of a movie, that of RELION's tutorial movies.
DOSE_E_A2 = 30.65
OPTICS = Optics(voltage_kV=300.0, cs_mm=2.7, amplitude_contrast_frac=0.1)
BANDS_A = ((60.0, 30.0), (30.0, 15.0), (15.0, 8.0), (8.0, 5.0))


@dataclass(frozen=True)
class Filmed:
    """A movie's file and what is true of it; `uncorrected` and `still` `(ny, nx)`: plain sum, unmoved specimen."""

    path: Path
    n_frames: int
    dose_per_frame_e_A2: float
    truth: MotionTable
    motion: Motion
    uncorrected: F32
    still: F32


def film(
    path: Path, specimen: Specimen, plugins: Plugins, *, n_frames: int, edge_px: int, seed: int,
    track: MotionRecords | None, tell: Callable[[int], None],
) -> Filmed:  # fmt: skip
    """Make one movie.

    Parameters
    ----------
    path
        Where it goes.
    specimen
        At :data:`PIXEL_A`.
    plugins
        One of which writes TIFF.
    n_frames, edge_px, seed
        Of the movie.
    track
        A recorded track that drives it; motion is drawn from the model of motion where None.
    tell
        Called with the number of each frame that is made.
    """
    shape = (edge_px, edge_px)
    edges = np.linspace(0.0, DOSE_E_A2, n_frames + 1)
    motion: Motion
    if track is None:
        model = MotionModel(dose_rate_e_A2_s=float(edges[1]) / FRAME_TIME_S)
        centre = (0.5 * edge_px * PIXEL_A, 0.5 * edge_px * PIXEL_A)
        motion = draw_motion(model, edges, rng=noise.generator(seed, 1), hole_radius_A=6000.0, centre_A=centre)
    else:
        motion = recorded_motion(track, edges, shape_px=shape, pixel_size_A=PIXEL_A)
    scene = _scene(specimen, shape, edges, motion, seed=seed)
    frames = SceneFrames(scene)
    total = np.zeros(shape, dtype=np.float32)

    def seen() -> Iterator[NDArray[np.generic]]:
        for index in range(n_frames):
            frame = frames.frame(index)
            np.add(total, frame, out=total)
            tell(index + 1)
            yield frame

    dose = DOSE_E_A2 / n_frames
    recording = Recording("tiff", n_frames, shape, "uint8", PIXEL_A, dose, OPTICS.voltage_kV, frames=seen())
    if plugins.ask("write_movie", {"path": path, "recording": recording}) is None:
        raise ConfigError("no writer of movies writes TIFF", remedy="`cryoframe plugins write_movie`")
    still = _still(scene)
    return Filmed(path, n_frames, dose, truth_table(motion, shape, PIXEL_A), motion, total, still)


def _scene(
    specimen: Specimen, shape: tuple[int, int], edges: NDArray[np.float64], motion: Motion, *, seed: int
) -> Scene:
    rng = noise.generator(seed, 2)
    n = int(np.prod(shape) * (PIXEL_A / SPACING_A) ** 2)
    y, x = (rng.uniform(0.0, edge * PIXEL_A, n) for edge in shape)
    free = 0.5 * ICE_A - specimen.radius_A
    views = particle_projections(
        prepare_volume(specimen.volume.data), random_rotations(N_VIEWS, rng), specimen.volume.pixel_size_A
    )
    group = ParticleGroup(x, y, rng.uniform(-free, free, n), (FadingPatches(lambda index: views[index % N_VIEWS]),))
    lens = Lens(
        OPTICS.voltage_kV, OPTICS.cs_mm, OPTICS.amplitude_contrast_frac, 12200.0, 11900.0, 30.0,
        envelope=Envelope(focal_spread_A=60.0, source_angle_mrad=0.02),
    )  # fmt: skip
    return Scene(
        f"movie{seed}", seed, shape, PIXEL_A, edges, FRAME_TIME_S, Sensor(camera_for(shape[0])), lens,
        film=ice.IceFilm(ICE_A), particles=(group,), motion=motion,
        loss=Loss(ice.inelastic_mean_free_path_A(OPTICS.voltage_kV)),
        effects=Effects(coincidence=False, gain=False, defects=False),
    )  # fmt: skip


def _still(scene: Scene) -> F32:
    """What a sum of frames would show of the particles had nothing moved, faded or scattered besides them."""
    alone = replace(scene, effects=replace(scene.effects, ice=False, motion=False, damage=False, blur=False))
    return SceneFrames(alone).expected(0)


def likeness(image: F32, filmed: Filmed, shift_px: NDArray[np.float64]) -> list[float]:
    """Correlation of a sum with the still specimen in each of :data:`BANDS_A`.

    Parameters
    ----------
    image
        `(ny, nx)` the sum.
    filmed
        The movie.
    shift_px
        `(n, 2)` (x, y) the shifts its frames were moved by; 0 where they were not. What they leave of a common
        displacement is undone here: it moves a sum, and blurs nothing.
    """
    ny, nx = filmed.still.shape
    whole = np.isnan(filmed.truth.floats("patch_x_A"))
    true = np.stack([filmed.truth.floats(name)[whole] for name in ("shift_x_A", "shift_y_A")], axis=-1) / PIXEL_A
    # The still specimen is where it was when the exposure began; shifts of the first frame lead there from its middle.
    dx, dy = (shift_px - true).mean(axis=0)
    k = frequencies_1_A((ny, nx), PIXEL_A, False)
    ramp = np.exp(2j * np.pi * (np.fft.fftfreq(ny)[:, None] * dy + np.fft.rfftfreq(nx) * dx)).astype(np.complex64)
    one, other = fourier.rfft2(np.ascontiguousarray(image, dtype=np.float32)) * ramp, fourier.rfft2(filmed.still)
    found = []
    for low, high in BANDS_A:
        inside = (k > 1.0 / low) & (k < 1.0 / high)
        a, b = one[inside], other[inside]
        found.append(float(np.vdot(a, b).real / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real)))
    return found
