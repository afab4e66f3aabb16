"""From binned frames to a field of motion: whole frames coarsely first, then patches together; no summing here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics import motion
from cryoframe.numerics.alignment import frequency_weights
from cryoframe.numerics.backend import F32, Reals
from cryoframe.numerics.filters import dose_transfer
from cryoframe.numerics.fourier import rfft2
from cryoframe.numerics.motion import crop_spectrum, reduced_shape
from cryoframe.numerics.motion_jumps import LIKELY_A, Frames, Search, agreement, jumps, search
from cryoframe.numerics.motion_prior import field_prior
from cryoframe.numerics.motion_sum import binned
from cryoframe.numerics.patch_motion import Fit, Patches, cut_patches, tile_patches
from cryoframe.numerics.patch_motion_fit import Expected, fit_motion, in_angstrom
from cryoframe.numerics.windows import tukey_2d

#: Voltages whose critical exposures are known.
_KNOWN_KV = (200.0, 300.0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How motion is looked for.

    Parameters
    ----------
    patches
        Rows and columns of patches.
    resolution_A, low_A
        Finest and coarsest spacing compared.
    coarse_A
        Finest spacing of the first, whole-frame search.
    max_shift_A
        Largest translation looked for in one round of it.
    n_running
        Odd number of neighbouring frames summed in it.
    length_A
        Over which local motion is alike.
    local_A, drift_A, jitter_A
        Expected sizes of motion, see `patch_motion_fit.Expected`.
    n_rounds
        Of the joint fit, at most.
    """

    patches: tuple[int, int] = (5, 5)
    resolution_A: float = 6.0
    low_A: float = 200.0
    coarse_A: float = 16.0
    max_shift_A: float = 60.0
    n_running: int = 3
    length_A: float = 2500.0
    local_A: float = 3.0
    drift_A: float = 30.0
    jitter_A: float = 0.3
    n_rounds: int = 10


def binning(pixel_size_A: float, resolution_A: float) -> int:
    """Whole number of pixels to one that keeps `resolution_A` well inside: sums of pixels fade what is near Nyquist."""
    return max(1, min(round(resolution_A / (2.8 * pixel_size_A)), int(resolution_A / (2.1 * pixel_size_A))))


def coarse_frames(
    frames: motion.Frames, whole: tuple[int, int], pixel_size_A: float, how: Estimate, *, n_threads: int = 1
) -> tuple[Frames, Reals]:
    """Frames of `whole` pixels made small, and their pixel (x, y), in pixels of those they were made of."""
    factor = max(1, min(binning(pixel_size_A, how.coarse_A), min(whole) // 16))
    one: F32 = np.ones((1, 1), dtype=np.float32)
    shape = (whole[0] // factor, whole[1] // factor)
    small = reduced_shape(shape, factor * pixel_size_A, how.coarse_A)
    window = tukey_2d(shape, 0.1).astype(np.float32)
    spectra = []
    for frame in frames():
        coarse = binned(frame, one, factor)
        spectra.append(crop_spectrum(rfft2((coarse - coarse.mean()) * window, n_threads=n_threads), small))
    step = factor * np.array([shape[1] / small[1], shape[0] / small[0]])
    pixel_A = pixel_size_A * float(step.mean())
    weights = frequency_weights(
        small,
        pixel_size_A=pixel_A,
        b_factor_A2=500.0,
        low_A=min(500.0, 0.3 * min(whole) * pixel_size_A),
        high_A=max(how.coarse_A, 2.2 * pixel_A),
    )
    return Frames(np.stack(spectra), small, weights), step


def remaining(patches: Patches, pixel_size_A: float, dose_e_A2: Reals, voltage_kV: float) -> F32:
    """What exposure leaves of each frame's signal, `(f, r)` by ring; 1 where it is not known for the voltage."""
    fade: F32 = np.ones((len(dose_e_A2), len(patches.count)), dtype=np.float32)
    if all(abs(voltage_kV - known) > 2.0 for known in _KNOWN_KV):
        return fade
    k = np.linalg.norm(patches.k_px, axis=0) / (2.0 * np.pi * pixel_size_A)
    ring = patches.index[2]
    middle = np.bincount(ring, k, len(patches.count)) / np.maximum(np.bincount(ring, minlength=len(patches.count)), 1)
    for f, dose in enumerate(dose_e_A2):
        fade[f] = dose_transfer(np.maximum(middle, 1e-4), float(dose), voltage_kV)
    return fade


def estimate_motion(
    frames: motion.Frames,
    shape: tuple[int, int, int],
    pixel_size_A: float,
    origin_A: float,
    how: Estimate,
    *,
    dose_e_A2: Reals | None,
    voltage_kV: float,
    n_threads: int = 1,
) -> Fit:
    """Motion of a movie as a smooth field, in Å.

    Parameters
    ----------
    frames
        Gives binned frames `(ny, nx)` float32 without defects, one after the other; called twice.
    shape
        (f, ny, nx) of them.
    pixel_size_A
        Of these frames.
    origin_A
        Place of the centre of their pixel [0, 0], along both axes.
    how
        Settings.
    dose_e_A2
        `(f,)` exposure in the middle of each frame; None where it is not known: 30 e/Å² in all are taken for the
        smoothness of the motion, and signal is not taken to fade.
    voltage_kV
        Of the electrons.

    Returns
    -------
    Fit whose lengths are Å.
    """
    n_frames, ny, nx = shape
    if min(ny, nx) < 16:
        raise InvalidInput(f"binned frames of {ny} × {nx} px", expected="at least 16 px", remedy="Lower resolution_A.")
    coarse, step = coarse_frames(frames, (ny, nx), pixel_size_A, how, n_threads=n_threads)
    pixel_A = pixel_size_A * float(step.mean())
    wide = Search(how.max_shift_A / pixel_A, LIKELY_A / pixel_A, n_running=how.n_running)
    start = search(coarse, wide, n_threads=n_threads).shifts_px * step
    start -= start[0]
    tiles = tile_patches((ny, nx), how.patches)
    low_A = min(how.low_A, 0.3 * min(tiles[0].n_y, tiles[0].n_x) * pixel_size_A)
    high_A = max(how.resolution_A, 2.05 * pixel_size_A)
    patches = cut_patches(
        frames(), tiles, np.rint(start), low_px=low_A / pixel_size_A, high_px=high_A / pixel_size_A, n_threads=n_threads
    )
    nothing: Reals = np.zeros(n_frames)
    even: Reals = np.linspace(15.0 / n_frames, 30.0 - 15.0 / n_frames, n_frames)
    dose = even if dose_e_A2 is None else dose_e_A2
    fade = remaining(patches, pixel_size_A, nothing if dose_e_A2 is None else dose, voltage_kV)
    centres = np.array([[tile.x_px + 0.5 * (tile.n_x - 1), tile.y_px + 0.5 * (tile.n_y - 1)] for tile in tiles])
    places = origin_A + pixel_size_A * centres
    expected = Expected(how.local_A / pixel_size_A, how.drift_A / pixel_size_A, how.jitter_A / pixel_size_A)
    fit = fit_motion(
        patches,
        start,
        field_prior(places, dose, how.length_A),
        expected,
        fade=fade,
        dose_e_A2=dose,
        base_px=jumps(start, LIKELY_A / pixel_size_A),
        n_rounds=how.n_rounds,
        n_threads=n_threads,
    )
    agreed = agreement(coarse, fit.whole_px / step)
    return replace(in_angstrom(fit, pixel_size_A), agreement=agreed)
