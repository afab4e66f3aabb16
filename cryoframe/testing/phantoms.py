"""Small products whose truth is known: molecule, particles, micrograph, ice, movie, maps. Cases says who gets which.

Everything is made from numerics and a seed; nothing is read from disk but the movie, which lies in a file as movies do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryoframe.data.ids import half_of, particle_id
from cryoframe.data.images import CtfFit, Micrograph, Movie, ParticleStack
from cryoframe.data.maps import HalfMaps, Mask, Volume
from cryoframe.data.optics import Optics
from cryoframe.data.tables import ParticleTable
from cryoframe.data.twin import Exposure, Specimen
from cryoframe.formats import mrc
from cryoframe.numerics import ctf, fourier, projection, rotations

F32 = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

PIXEL_A = 4.0
BOX_PX = 32
LUMP_SIGMA_A = 6.5
#: Rows and columns differ, and neither is a power of two: a transposed or padded result shows.
FIELD_PX = (300, 420)
PICKER = "phantom"
OPTICS = Optics(voltage_kV=300.0, cs_mm=2.7, amplitude_contrast_frac=0.1, optics_group="phantom")
CTF = CtfFit("phantom", defocus_u_A=12500.0, defocus_v_A=11500.0, defocus_angle_deg=25.0)
N_MICROGRAPHS = 8


def rng_of(*key: object) -> np.random.Generator:
    """Return a generator that depends on `key` alone."""
    words = [int.from_bytes(str(part).encode(), "little") for part in key]
    return np.random.default_rng(words)


def lumps() -> tuple[Reals, Reals]:
    """Centres `(m, 3)` (x, y, z) [Å] and weights `(m,)` of the lumps of :func:`molecule`."""
    turn = np.linspace(0.0, 1.0, 16)
    radius, angle = 34.0 - 12.0 * turn, 2.0 * np.pi * 1.4 * turn
    centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), 76.0 * (turn - 0.5)], axis=-1)
    inner = [[0.0, 0.0, 0.0], [14.0, 8.0, -6.0], [-6.0, 12.0, 18.0]]
    return np.concatenate([centres, inner]), np.concatenate([1.0 + turn, [2.5, 2.0, 1.5]])


def molecule(n: int = BOX_PX, pixel_size_A: float = PIXEL_A) -> Volume:
    """A right-handed coil of Gaussian lumps that grow along it: no symmetry, a definite hand, about 90 Å across."""
    centres, weights = lumps()
    axis = (np.arange(n) - n // 2) * pixel_size_A
    profile = np.exp(-0.5 * ((axis[None, None, :] - centres[:, :, None]) / LUMP_SIGMA_A) ** 2)
    data = np.einsum("p,pz,py,px->zyx", weights, profile[:, 2], profile[:, 1], profile[:, 0], optimize=True)
    return Volume(data.astype(np.float32), pixel_size_A)


def mirrored(volume: Volume) -> Volume:
    """The other hand: z reversed about voxel n//2."""
    flipped = np.roll(volume.data[::-1], 1 if volume.data.shape[0] % 2 == 0 else 0, axis=0)
    return replace(volume, data=np.ascontiguousarray(flipped))


def projections(volume: Volume, euler_deg: Reals, *, shifts_A: Reals | None = None, fit: CtfFit | None = None) -> F32:
    """Images `(m, n, n)` of the volume at ZYZ angles `(m, 3)`; `shifts_A` is the translation that re-centres them."""
    n = volume.data.shape[0]
    matrices = rotations.euler_to_matrix(*euler_deg.T).astype(np.float32)
    slices = projection.project(projection.prepare_volume(volume.data), matrices)
    if shifts_A is not None:
        slices = slices * fourier.phase_ramp(n, -shifts_A / volume.pixel_size_A)
    if fit is not None:
        slices = slices * transfer(n, volume.pixel_size_A, fit)
    return fourier.ifft2_centred(slices.astype(np.complex64)).astype(np.float32)


def transfer(n: int, pixel_size_A: float, fit: CtfFit) -> F32:
    """CTF of a fit, `(1, n, n//2+1)` in the centred half layout."""
    return ctf.ctf_half(
        n,
        pixel_size_A,
        voltage_kV=OPTICS.voltage_kV,
        cs_mm=OPTICS.cs_mm,
        amplitude_contrast=OPTICS.amplitude_contrast_frac,
        defocus_u_A=fit.defocus_u_A,
        defocus_v_A=fit.defocus_v_A,
        defocus_angle_deg=fit.defocus_angle_deg,
        phase_shift_deg=fit.phase_shift_deg,
        fast=False,
    )


def random_views(n: int, key: object) -> Reals:
    """Angles `(n, 3)` (rot, tilt, psi), uniform over all orientations."""
    matrices = rotations.random_rotations(n, rng_of("views", key))
    return np.stack(rotations.matrix_to_euler(matrices), axis=-1)


@dataclass(frozen=True)
class Particles:
    """A stack and its truth: angles `(n, 3)` and shifts `(n, 2)` in the order of its rows."""

    stack: ParticleStack
    euler_deg: Reals
    shifts_A: Reals
    volume: Volume


def particles(n: int = 240, *, snr: float = 0.5, key: object = 0, views: Reals | None = None) -> Particles:
    """Boxed images of the molecule with poses, CTF and white noise; `snr` is signal over noise variance, 0 = noise.

    The table carries identity, position, image and CTF, not the pose: finding it is the stage's work.
    """
    volume, rng = molecule(), rng_of("particles", key)
    euler = random_views(n, key) if views is None else views
    shifts = rng.uniform(-2.0, 2.0, (n, 2)) * PIXEL_A
    clean = projections(volume, euler, shifts_A=shifts, fit=CTF) if n else np.zeros((0, BOX_PX, BOX_PX), np.float32)
    noise = rng.standard_normal(clean.shape).astype(np.float32)
    scale = np.sqrt(snr) / max(float(clean.std()), 1e-9) if n else 0.0
    table = identified(n, key).with_columns(_image_columns(n) | ctf_columns(n))
    images = clean * np.float32(scale) + noise
    return Particles(ParticleStack(images, table, PIXEL_A, (OPTICS,)), euler, shifts, volume)


def identified(n: int, key: object = 0) -> ParticleTable:
    """A table of `n` rows with identity and position, spread over a few micrographs and both halves."""
    names = [f"phantom-{key}-{index % N_MICROGRAPHS}" for index in range(n)]
    x_A, y_A = (np.arange(n) % 97) * 10.0, (np.arange(n) // 97) * 10.0
    halves = {name: half_of(name, 0) for name in names}
    return ParticleTable.from_columns(
        {
            "particle_id": np.array(
                [particle_id(*row, PICKER) for row in zip(names, x_A, y_A, strict=True)], dtype=np.uint64
            ),
            "micrograph_id": names,
            "optics_group": [OPTICS.optics_group] * n,
            "half": np.array([halves[name] for name in names], dtype=np.uint8),
            "x_A": x_A.astype(np.float32),
            "y_A": y_A.astype(np.float32),
            "figure_of_merit": np.ones(n, dtype=np.float32),
        }
    )


def _image_columns(n: int) -> dict[str, npt.ArrayLike]:
    return {
        "stack": ["phantom"] * n,
        "stack_index": np.arange(n, dtype=np.int32),
        "box_px": np.full(n, BOX_PX, dtype=np.int32),
        "pixel_size_A": np.full(n, PIXEL_A, dtype=np.float32),
    }


def ctf_columns(n: int, fit: CtfFit = CTF) -> dict[str, npt.ArrayLike]:
    """The CTF group of a table of `n` rows, all alike."""
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    return {name: np.full(n, getattr(fit, name), dtype=np.float32) for name in names}


@dataclass(frozen=True)
class Field:
    """A micrograph and its truth: particle centres `(n, 2)` (x, y) in Å and their angles."""

    micrograph: Micrograph
    ctf: CtfFit
    centres_A: Reals
    euler_deg: Reals

    def table(self) -> ParticleTable:
        """The true positions as a table with identity."""
        n, name = len(self.centres_A), self.micrograph.micrograph_id
        x_A, y_A = self.centres_A.T.astype(np.float32)
        columns = {
            "particle_id": np.array(
                [particle_id(name, float(x), float(y), PICKER) for x, y in zip(x_A, y_A, strict=True)], dtype=np.uint64
            ),
            "micrograph_id": [name] * n,
            "optics_group": [OPTICS.optics_group] * n,
            "half": np.full(n, half_of(name, 0), dtype=np.uint8),
            "x_A": x_A,
            "y_A": y_A,
            "figure_of_merit": np.linspace(1.0, 0.5, n, dtype=np.float32),
        }
        return ParticleTable.from_columns(columns)


def micrograph(n: int = 24, *, noise: float = 1.5, key: object = 0) -> Field:
    """A field of molecules, protein dark, with CTF and white noise; none touches another or the border."""
    rng = rng_of("micrograph", key)
    centres = spread(n, FIELD_PX, 1.15 * BOX_PX, rng) if n else np.zeros((0, 2))
    euler = random_views(n, ("field", key)) if n else np.zeros((0, 3))
    whole = np.round(centres)
    image = np.zeros(FIELD_PX, dtype=np.float64)
    if n:
        patches = projections(_padded(molecule()), euler, shifts_A=(whole - centres) * PIXEL_A, fit=CTF)
        half = patches.shape[-1] // 2
        framed = np.pad(image, half)
        for (x, y), patch in zip(whole.astype(int), patches, strict=True):
            framed[y : y + 2 * half, x : x + 2 * half] += patch
        image = framed[half:-half, half:-half] / max(float(patches.std()) * 2.0, 1e-9)
    noisy = 100.0 - image + noise * rng.standard_normal(FIELD_PX)
    name = f"phantom-{key}"
    taken = Micrograph(name, noisy.astype(np.float32), PIXEL_A, 40.0, False, OPTICS)
    return Field(taken, replace(CTF, micrograph_id=name), centres * PIXEL_A, euler)


def _padded(volume: Volume) -> Volume:
    """In a box twice as large, so that delocalised rings are not cut."""
    n = volume.data.shape[0] // 2
    return replace(volume, data=np.pad(volume.data, n))


def spread(n: int, shape_px: tuple[int, int], distance_px: float, rng: np.random.Generator) -> Reals:
    """Centres `(n, 2)` (x, y) in pixels, at least `distance_px` apart and from the border; the left top stays empty."""
    ny, nx = shape_px
    margin = distance_px * 0.65
    chosen: list[Reals] = []
    for _ in range(20000):
        point = rng.uniform((margin, margin), (nx - 1 - margin, ny - 1 - margin))
        in_empty_corner = point[0] < 0.35 * nx and point[1] < 0.35 * ny
        if not in_empty_corner and all(np.hypot(*(point - other)) >= distance_px for other in chosen):
            chosen.append(point)
            if len(chosen) == n:
                break
    return np.array(chosen)


ICE_PIXEL_A = 1.5
ICE_PX = (480, 576)
ICE_CTF = CtfFit("ice", defocus_u_A=14200.0, defocus_v_A=12600.0, defocus_angle_deg=25.0)


def ice(*, signal: float = 1.0, key: object = 0, fit: CtfFit = ICE_CTF) -> Micrograph:
    """Amorphous film under an astigmatic CTF with a fading envelope; `signal` 0 leaves white noise."""
    rng, n = rng_of("ice", key), max(ICE_PX)
    film = fourier.fft2_centred(rng.standard_normal((n, n)).astype(np.float32))
    kx, ky = ctf.half_frequencies(n, ICE_PIXEL_A)
    envelope = np.exp(-60.0 * (kx**2 + ky**2) / 4.0)
    seen = fourier.ifft2_centred((film * transfer(n, ICE_PIXEL_A, fit)[0] * envelope).astype(np.complex64))
    image = 50.0 + signal * seen[: ICE_PX[0], : ICE_PX[1]] + 0.5 * rng.standard_normal(ICE_PX)
    return Micrograph("ice", image.astype(np.float32), ICE_PIXEL_A, 40.0, False, OPTICS)


@dataclass(frozen=True)
class Filmed:
    """A movie and its truth: where the specimen was in each frame `(n, 2)` (x, y) in Å, and the still image."""

    movie: Movie
    drift_A: Reals
    still: F32


def drift_px(n_frames: int) -> Reals:
    """Where the specimen is in each frame `(n, 2)` (x, y): it slows down as it does under the beam."""
    pace = 1.0 - np.exp(-np.arange(n_frames) / 3.0)
    return np.stack([3.5 * pace, -2.0 * pace], axis=-1)


def exposed(still: F32, places_px: Reals, *, noise: float, key: object = 0) -> F32:
    """Frames `(n, ny, nx)` of a specimen that is at `places_px` `(n, 2)` (x, y), each with white noise of its own."""
    rng = rng_of("movie", key)
    frames = [fourier.shift_images(still, shift) + noise * rng.standard_normal(still.shape) for shift in places_px]
    return np.stack(frames).astype(np.float32)


def filed(path: Path, frames: F32, *, dose_per_frame_e_A2: float = 1.0, key: object = 0) -> Movie:
    """The movie of some frames, in an MRC file at `path`."""
    mrc.write(path, frames, pixel_size_A=PIXEL_A, is_stack=True)
    shape = (int(frames.shape[1]), int(frames.shape[2]))
    return Movie(f"phantom-{key}", str(path), len(frames), shape, PIXEL_A, dose_per_frame_e_A2, OPTICS)


def movie(path: Path, still: F32, *, n_frames: int = 8, noise: float = 1.0, key: object = 0) -> Filmed:
    """A drifting specimen in an MRC file at `path`."""
    places = drift_px(n_frames)
    return Filmed(filed(path, exposed(still, places, noise=noise, key=key), key=key), places * PIXEL_A, still)


def texture(shape: tuple[int, int], *, b_factor_A2: float = 150.0, key: object = 0) -> F32:
    """An image of mean 0 and deviation 1 with detail of every size down to two pixels of `PIXEL_A`; periodic."""
    white = np.fft.rfft2(rng_of("texture", key).standard_normal(shape))
    ky, kx = np.fft.fftfreq(shape[0], PIXEL_A)[:, None], np.fft.rfftfreq(shape[1], PIXEL_A)
    white *= np.exp(-0.25 * b_factor_A2 * (kx * kx + ky * ky))
    white[0, 0] = 0.0
    seen: Reals = np.fft.irfft2(white, shape)
    scaled: F32 = (seen / seen.std()).astype(np.float32)
    return scaled


def half_maps(*, noise: float = 0.08, signal: float = 1.0, key: object = 0) -> HalfMaps:
    """The molecule twice, with independent noise that grows with frequency, so that the FSC falls inside the box."""
    volume, n = molecule(), BOX_PX
    radius = np.hypot(np.hypot(*np.ogrid[-n // 2 : n // 2, -n // 2 : n // 2])[..., None], np.arange(n // 2 + 1))
    ramp = (radius / (n / 4)) ** 2
    halves: Sequence[Volume] = [
        replace(volume, data=(signal * volume.data + noise * _coloured(ramp, rng_of("half", key, half))))
        for half in (1, 2)
    ]
    return HalfMaps(*halves)


def _coloured(ramp: Reals, rng: np.random.Generator) -> F32:
    white = fourier.fft3_centred(rng.standard_normal((BOX_PX,) * 3).astype(np.float32))
    return fourier.ifft3_centred((white * ramp).astype(np.complex64)).astype(np.float32)


def mask(radius_A: float = 58.0) -> Mask:
    """A soft ball around the centre."""
    axis = (np.arange(BOX_PX) - BOX_PX // 2) * PIXEL_A
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    edge = np.clip((radius_A - radius) / 12.0 + 0.5, 0.0, 1.0)
    return Mask((0.5 - 0.5 * np.cos(np.pi * edge)).astype(np.float32), PIXEL_A)


def specimen(*, concentration_mg_mL: float = 3.3) -> Specimen:
    """The molecule as the beam sees it, about 3 V above the ice it displaces."""
    made = molecule()
    dense = replace(made, data=(0.03 * made.data).astype(np.float32))
    return Specimen("coil", dense, mass_kDa=60.0, radius_A=60.0, concentration_mg_mL=concentration_mg_mL)


def exposure(*, n_frames: int = 6) -> Exposure:
    """A small field at low magnification, some twenty molecules in it; far from any rim."""
    return Exposure(
        "phantom",
        shape_px=FIELD_PX,
        pixel_size_A=PIXEL_A,
        n_frames=n_frames,
        dose_per_frame_e_A2=6.0,
        frame_time_s=2.0,
        defocus_u_A=20000.0,
        defocus_v_A=19000.0,
        defocus_angle_deg=25.0,
    )
