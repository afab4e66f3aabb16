"""Movies of β-galactosidase in ice that moves as real or drawn tracks say, with the truth; nothing is asserted here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoframe import Movie, Optics
from cryoframe.formats.star_motion import motion_from_star
from cryoframe.numerics import exposure, fourier
from cryoframe.numerics.atoms import potential
from cryoframe.numerics.filters import dose_transfer
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.lens import Lens
from cryoframe.numerics.motion_model import Motion
from cryoframe.numerics.projection import prepare_volume
from cryoframe.numerics.rotations import random_rotations
from cryoframe.numerics.warp import warp
from cryoframe_model.structure import read_atoms

PIXEL_A, DOSE_E_A2 = 0.885, 1.277
TRACKS = [f"20170629_000{i}_frameImage.star" for i in range(21, 29)]
#: Translations `(…, f, 2)` [px] that undo the motion at places (x, y) [px], against the first frame.
Truth = Callable[[np.ndarray, np.ndarray], np.ndarray]


def recorded(shared_data: Path, name: str, shape: tuple[int, int]) -> Truth:
    """What RELION 5 found in a real movie, its local model stretched to `shape`."""
    records = motion_from_star(shared_data / "motion" / "relion5_tracks" / name)
    whole = np.stack([records.shift_x_px, records.shift_y_px], axis=1)

    def at(x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
        x, y = (np.asarray(v, float)[..., None] for v in (x_px, y_px))
        time = np.arange(len(whole), dtype=float)
        local = records.model_shift_px(time, x * records.shape_px[1] / shape[1], y * records.shape_px[0] / shape[0])
        return whole - whole[0] + np.stack(local, axis=-1)

    return at


def drawn(motion: Motion) -> Truth:
    """What a model of motion says."""

    def at(x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
        path = motion.displacement_A(np.asarray(x_px) * PIXEL_A, np.asarray(y_px) * PIXEL_A) / PIXEL_A
        return path[..., :1, :] - path

    return at


def contrast(shared_data: Path, shape: tuple[int, int], *, seed: int = 1, spacing_A: float = 210.0) -> np.ndarray:
    """Contrast I/I₀ − 1 `(ny, nx)` of molecules in ice, 200 kV, 1.2 µm under focus."""
    atoms = read_atoms(shared_data / "models" / "5a1a.cif")
    box, rng = 256, np.random.default_rng(seed)
    volume = potential(
        atoms.positions_A - atoms.positions_A.mean(axis=0), atoms.kinds, (atoms.heights_A, atoms.widths_A2),
        b_factors_A2=atoms.b_factors_A2 + 40.0, n=box, pixel_size_A=PIXEL_A, occupancies=atoms.occupancies,
    )  # fmt: skip
    patches = exposure.particle_projections(prepare_volume(volume), random_rotations(24, rng), PIXEL_A)
    # Water fills the surroundings and hides the molecule's low frequencies, not its detail (65 % of the mean potential
    # is that of water; edge of the molecule blurred as by a B-factor of 600 Å²).
    k = frequencies_1_A((box, box), PIXEL_A, False)
    hidden = fourier.rfft2(patches) * (1.0 - 0.65 * np.exp(-150.0 * k**2))
    patches = fourier.irfft2(hidden.astype(np.complex64), (box, box)).astype(np.float32)
    patches -= patches[:, :8].mean()
    n = int(np.prod(shape) * (PIXEL_A / spacing_A) ** 2)
    x, y = (rng.uniform(0, n_px * PIXEL_A, n) for n_px in shape[::-1])
    field = np.zeros(shape, dtype=np.float32)
    for first in range(0, n, 24):
        at = slice(first, first + 24)
        exposure.stamp(field, patches[: len(x[at])], x[at], y[at], PIXEL_A)
    lens = Lens(voltage_kV=200.0, cs_mm=1.4, amplitude_contrast=0.1, defocus_u_A=12200.0, defocus_v_A=11900.0)
    return exposure.weak_phase_contrast([(0.0, field)], PIXEL_A, lens)


@dataclass
class Filmed:
    """Frames of a moving, fading specimen as a counting camera gives them; a `FrameSource` that holds them."""

    frames: np.ndarray
    truth: Truth
    pixel_size_A: float = PIXEL_A

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    @property
    def shape_px(self) -> tuple[int, int]:
        return self.frames.shape[1:]

    def read_frame(self, index: int) -> np.ndarray:
        return self.frames[index].astype(np.float32)

    def movie(self, **more: object) -> Movie:
        given = {"dose_per_frame_e_A2": DOSE_E_A2, "optics": Optics(200.0, 1.4), "source": self} | more
        return Movie("mov", "", self.n_frames, self.shape_px, PIXEL_A, **given)  # type: ignore[arg-type]

    def centres_px(self, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Places (x, y) of n × n patches, row by row."""
        y, x = (((np.arange(n) + 0.5) * size / n - 0.5) for size in self.shape_px)
        return np.tile(x, n), np.repeat(y, n)


def film(
    still: np.ndarray, truth: Truth, n_frames: int, *, gain: np.ndarray | None = None, seed: int = 2,
    dose_e_A2: float = DOSE_E_A2, fades: bool = True,
) -> Filmed:  # fmt: skip
    """Let a camera of DQE 0.64 film the contrast; raw counts where a gain is given."""
    ny, nx = still.shape
    scene, k = fourier.rfft2(still), frequencies_1_A(still.shape, PIXEL_A, False)
    y, x = np.meshgrid(np.linspace(0, ny - 1, 33), np.linspace(0, nx - 1, 33), indexing="ij")
    shifts = truth(x, y)
    frames = np.empty((n_frames, ny, nx), dtype=np.uint8)
    for f in range(n_frames):
        moved = -shifts[:, :, f]
        whole = moved.mean(axis=(0, 1))
        left = dose_transfer(k, (f + 0.5) * dose_e_A2, 200.0) if fades else 1.0
        ramp = np.exp(-2j * np.pi * (np.fft.fftfreq(ny)[:, None] * whole[1] + np.fft.rfftfreq(nx) * whole[0]))
        image = warp(fourier.irfft2((scene * ramp * left).astype(np.complex64), (ny, nx)), moved - whole)
        rate = dose_e_A2 * PIXEL_A**2 * np.maximum(1.0 + 0.8 * image, 0.0)
        if gain is not None:
            rate = rate / gain
        frames[f] = np.random.default_rng((seed, f)).poisson(rate).clip(0, 255)
    return Filmed(frames, truth)
