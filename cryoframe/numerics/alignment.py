"""Registration of images by translation: sub-pixel correlation peaks and drift of frames; no rotations, no files."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import namespace
from cryoframe.numerics.fourier import irfft2

Array = npt.NDArray[Any]
#: Logarithm of the odds against a translation that is farther than likely, beside that of how many there are.
_DOUBT = 6.0
#: Correlations that are in memory at a time.
_AT_ONCE = 8


def frequency_weights(
    shape: tuple[int, int],
    *,
    pixel_size_A: float,
    b_factor_A2: float = 0.0,
    low_A: float = np.inf,
    high_A: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Weights of a correlation by frequency.

    Parameters
    ----------
    shape
        (ny, nx) of the real images [px].
    pixel_size_A
        Sampling of those images.
    b_factor_A2
        Envelope ``exp(-B k^2 / 4)`` of each of the two images, so its square here.
    low_A, high_A
        Only frequencies with ``high_A <= 1/k <= low_A`` count; zero frequency never does.

    Returns
    -------
    `(ny, nx//2 + 1)` float32, raw half layout, each Hermitian mate counted (columns inside count twice).

    References
    ----------
    Envelope: Grant & Grigorieff, eLife 4, e06980 (2015); definition of the half layout.
    """
    ny, nx = shape
    ky, kx = np.fft.fftfreq(ny, pixel_size_A)[:, None], np.fft.rfftfreq(nx, pixel_size_A)[None, :]
    squared = ky**2 + kx**2
    weights = np.exp(-0.5 * b_factor_A2 * squared)
    weights[squared < (1.0 / low_A) ** 2 if np.isfinite(low_A) else squared < 0] = 0.0
    if high_A > 0:
        weights[squared > (1.0 / high_A) ** 2] = 0.0
    weights[0, 0] = 0.0
    last = nx // 2 if nx % 2 == 0 else nx // 2 + 1
    weights[:, 1:last] *= 2.0
    return weights.astype(np.float32)


def correlation_peaks(
    spectra: Array,
    shape: tuple[int, int],
    *,
    max_shift_px: float,
    near_px: Array | None = None,
    likely_px: float | None = None,
) -> tuple[Array, Array]:
    """Translations at which correlations are largest, to better than a hundredth of a pixel where noise allows.

    Parameters
    ----------
    spectra
        `(m, ny, nx//2 + 1)` complex, raw half layout: weights * reference * conj(image).
    shape
        (ny, nx) of the real images.
    max_shift_px
        Only translations within this distance of `near_px` are considered.
    near_px
        `(m, 2)` (dx, dy); zero when absent.
    likely_px
        Translations farther than this from `near_px` are taken only where chance does not explain them: where their
        correlation is above the best of the nearer ones by more than the best of as many values of noise is.

    Returns
    -------
    `(m, 2)` float64 (dx, dy), the translation to apply to each image; and `(m,)` the correlations there.

    References
    ----------
    Local up-sampling by matrix products: Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33, 156 (2008).
    """
    xp = namespace(spectra)
    shifts = np.zeros((len(spectra), 2)) if near_px is None else np.array(near_px, dtype=np.float64)
    heights = np.empty(len(spectra))
    for first in range(0, len(spectra), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        maps = irfft2(spectra[some] * phase_ramps(shape, -shifts[some], xp), shape)
        shifts[some] += _best_pixels(maps, max_shift_px, likely_px, xp)
    for i in range(len(spectra)):
        for step in (0.25, 0.05):
            shifts[i], heights[i] = _climb(spectra[i], shape, shifts[i], step)
    return shifts, heights


def _best_pixels(maps: Array, max_shift_px: float, likely_px: float | None, xp: Any) -> Array:
    """Whole pixels `(m, 2)` (dx, dy) at which maps `(m, ny, nx)`, zero at [0, 0], are highest."""
    ny, nx = maps.shape[1:]
    reach_y, reach_x = min(int(max_shift_px), (ny - 1) // 2), min(int(max_shift_px), (nx - 1) // 2)
    dy, dx = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    window = maps[:, xp.asarray(dy % ny), xp.asarray(dx % nx)]
    distance = np.hypot(dy, dx)
    best, height = _highest(window, distance <= max_shift_px + 1e-9, xp)
    if likely_px is not None and likely_px < max_shift_px:
        nearest, near_height = _highest(window, distance <= max(likely_px, 1.0), xp)
        spread = maps.reshape(len(maps), -1).std(axis=1)
        chance = 2.0 * (np.log(distance.size) + _DOUBT) * _on_host(spread) ** 2
        believed = height * np.abs(height) - near_height * np.abs(near_height) > chance
        best = np.where(believed, best, nearest)
    return np.stack([dx.reshape(-1)[best], dy.reshape(-1)[best]], axis=1)


def _on_host(values: Any) -> Array:
    return np.asarray(values.get() if hasattr(values, "get") else values)


def _highest(maps: Array, allowed: Array, xp: Any) -> tuple[Array, Array]:
    """Flat index of the highest value of each map where it is allowed, and the value."""
    flat = xp.where(xp.asarray(allowed), maps, -xp.inf).reshape(len(maps), -1)
    best = flat.argmax(axis=1)
    return _on_host(best), _on_host(flat[xp.arange(len(flat)), best]).astype(np.float64)


def phase_ramps(shape: tuple[int, int], shifts: Array, xp: Any = np) -> Array:
    """Phase factors `(m, ny, nx//2 + 1)` that move content by `shifts` (dx, dy)."""
    ky, kx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    along_y = np.exp(-2j * np.pi * shifts[:, 1, None] * ky).astype(np.complex64)
    along_x = np.exp(-2j * np.pi * shifts[:, 0, None] * kx).astype(np.complex64)
    ramp: Array = xp.asarray(along_y)[:, :, None] * xp.asarray(along_x)[:, None, :]
    return ramp


def _climb(spectrum: Array, shape: tuple[int, int], start: Array, step: float) -> tuple[Array, float]:
    """Best node of an 11 x 11 lattice around `start`, improved by a parabola through its neighbours."""
    xp = namespace(spectrum)
    offsets = np.arange(-5, 6) * step
    waves_y = np.exp(2j * np.pi * (start[1] + offsets)[:, None] * np.fft.fftfreq(shape[0]))
    waves_x = np.exp(2j * np.pi * np.fft.rfftfreq(shape[1])[:, None] * (start[0] + offsets)[None, :])
    product = xp.asarray(waves_y.astype(np.complex64)) @ spectrum @ xp.asarray(waves_x.astype(np.complex64))
    heights = np.asarray((product.get() if hasattr(product, "get") else product).real, dtype=np.float64)
    row, column = np.unravel_index(int(heights.argmax()), heights.shape)
    inner_row, inner_column = min(max(int(row), 1), 9), min(max(int(column), 1), 9)
    fine_y = _vertex(heights[inner_row - 1 : inner_row + 2, inner_column])
    fine_x = _vertex(heights[inner_row, inner_column - 1 : inner_column + 2])
    moved = np.array([offsets[inner_column] + fine_x * step, offsets[inner_row] + fine_y * step])
    return start + moved, float(heights[row, column])


def _vertex(three: Array) -> float:
    """Position of the vertex of a parabola through three equidistant values, within one spacing of the middle."""
    left, middle, right = (float(value) for value in three)
    curvature = left - 2.0 * middle + right
    return float(np.clip(0.5 * (left - right) / curvature, -1.0, 1.0)) if curvature < 0 else 0.0


def register(
    reference_ft: Array,
    images_ft: Array,
    shape: tuple[int, int],
    *,
    weights: Array,
    max_shift_px: float,
    near_px: Array | None = None,
) -> Array:
    """Translations that lay images on a reference.

    Parameters
    ----------
    reference_ft
        `(ny, nx//2 + 1)` or `(m, ny, nx//2 + 1)` complex, raw half layout.
    images_ft
        `(m, ny, nx//2 + 1)` complex.
    shape
        (ny, nx) of the real images; they need not be square.
    weights
        `(ny, nx//2 + 1)` from :func:`frequency_weights`.
    max_shift_px, near_px
        As in :func:`correlation_peaks`.

    Returns
    -------
    `(m, 2)` float64 (dx, dy): translation to apply to each image; content moves by +dx, +dy.

    Raises
    ------
    InvalidInput
        The transforms do not belong to images of this shape.

    References
    ----------
    Phase correlation of shifted images: Kuglin & Hines, Proc. IEEE Int. Conf. Cybern. Soc. 163 (1975).
    """
    half = (shape[0], shape[1] // 2 + 1)
    if images_ft.ndim != 3 or images_ft.shape[1:] != half or reference_ft.shape[-2:] != half:
        raise InvalidInput(
            f"transforms of shape {images_ft.shape} and {reference_ft.shape}",
            expected=f"(m, {half[0]}, {half[1]}) for images of {shape[0]} x {shape[1]} px",
            remedy="Give the shape of the real images the transforms were made from.",
        )
    xp = namespace(reference_ft, images_ft)
    spectra = reference_ft * xp.conj(images_ft) * xp.asarray(weights)
    return correlation_peaks(spectra, shape, max_shift_px=max_shift_px, near_px=near_px)[0]


def frame_shifts(
    frames_ft: Array,
    shape: tuple[int, int],
    *,
    weights: Array,
    max_shift_px: float,
    n_iterations: int = 8,
    tolerance_px: float = 0.02,
    n_running: int = 1,
    start_px: Array | None = None,
    likely_px: float | None = None,
) -> Array:
    """Drift of the frames of a movie, each against the sum of all others.

    Parameters
    ----------
    frames_ft
        `(m, ny, nx//2 + 1)` complex, raw half layout.
    shape
        (ny, nx) of the real frames.
    weights
        `(ny, nx//2 + 1)` from :func:`frequency_weights`.
    max_shift_px
        Largest translation looked for in one iteration.
    n_iterations, tolerance_px
        Stops when no frame moves by more than the tolerance.
    n_running
        Odd number of neighbouring frames whose correlations are summed, weighted by a triangle: for frames of little
        signal.
    start_px
        `(m, 2)` first estimate.
    likely_px
        As in :func:`correlation_peaks`.

    Returns
    -------
    `(m, 2)` float64 (dx, dy): translation to apply to each frame, of mean zero.

    References
    ----------
    Leave-one-out sums: Grant & Grigorieff, eLife 4, e06980 (2015), section "Unblur".
    """
    xp = namespace(frames_ft)
    n_frames = len(frames_ft)
    shifts = np.zeros((n_frames, 2)) if start_px is None else np.array(start_px, dtype=np.float64)
    if n_frames < 2:
        return shifts
    weight = xp.asarray(weights)
    # A frame's noise is like itself, and would hold it where it is; so would a neighbour's that is summed with it.
    own = _running_sum(frames_ft.real**2 + frames_ft.imag**2, n_running)
    for _ in range(n_iterations):
        moved = frames_ft * phase_ramps(shape, shifts, xp)
        products = (moved.sum(axis=0) * xp.conj(_running_sum(moved, n_running)) - own) * weight
        change, _ = correlation_peaks(products, shape, max_shift_px=max_shift_px, likely_px=likely_px)
        updated = shifts + change
        updated -= updated.mean(axis=0)
        largest = np.abs(updated - shifts).max()
        shifts = updated
        if largest < tolerance_px:
            break
    return shifts


def _running_sum(frames_ft: Array, n_running: int) -> Array:
    """Sum of each array and its neighbours, weighted by a triangle; at the ends only of those there are.

    A box instead of a triangle would make the iteration unstable: its transform is negative for alternating residuals.
    """
    if n_running <= 1:
        return frames_ft
    reach = n_running // 2
    summed = frames_ft.copy()
    for distance in range(1, reach + 1):
        weight = np.float32(1.0 - distance / (reach + 1))
        summed[distance:] += weight * frames_ft[:-distance]
        summed[:-distance] += weight * frames_ft[distance:]
    return summed
