"""Views of a map or class averages, at every angle, found in a micrograph by matched filters; peaks are in ``peaks``.

Everything is whitened, so that a template of norm 1 correlates with noise to a number of variance 1. All templates lie
near a space of few dimensions: the micrograph is correlated with a basis of it, and templates are sums of these maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import C64, F32, Complexes, Floats, Ints, Reals
from cryoframe.numerics.fourier import fft2_centred, fourier_pad, ifft2_centred, irfft2, rfft2
from cryoframe.numerics.matched_filter import Canvas
from cryoframe.numerics.peaks import local_maxima
from cryoframe.numerics.projection import prepare_volume, project
from cryoframe.numerics.rotations import euler_to_matrix, psi_grid
from cryoframe.numerics.symmetry import directions_in_asymmetric_unit

#: Dimensions tried, and how much of the templates' power may be outside those that are kept.
_MOST_DIMENSIONS = 72
_LOST_FRAC = 0.05
#: A block of values of all templates, some megabytes, is looked through while it is in the cache.
_COLUMNS_AT_ONCE = 1 << 10
#: Side of the piece of noise by which chance is measured, and how many of its highest peaks say how it falls off.
_NOISE_PX = 256
_N_TAIL = 60
_NOISE_FLOOR = 3.0


def views_of_map(volume: Floats, *, view_step_deg: float, psi_step_deg: float, symmetry: str = "C1") -> C64:
    """Transforms of projections of a map from everywhere, at every angle in the plane.

    Parameters
    ----------
    volume
        `(n, n, n)`, n even.
    view_step_deg, psi_step_deg
        Between directions, and in the plane.
    symmetry
        Point group of the map, along its axes.

    Returns
    -------
    `(t, n, n//2+1)` complex64, centred half layout; the angle in the plane runs fastest.
    """
    sphere = directions_in_asymmetric_unit(view_step_deg, symmetry)
    psi = psi_grid(psi_step_deg)
    rot, tilt = (np.repeat(column, len(psi)) for column in sphere.T)
    matrices = euler_to_matrix(rot, tilt, np.tile(psi, len(sphere)))
    slices: C64 = project(prepare_volume(np.asarray(volume, dtype=np.float32)), matrices.astype(np.float32))
    return slices


def views_of_averages(averages: Floats, *, psi_step_deg: float) -> C64:
    """Transforms of images `(m, n, n)`, n even, turned in the plane; as :func:`views_of_map`."""
    n = averages.shape[-1]
    if averages.ndim != 3 or averages.shape[-2] != n or n % 2:
        raise InvalidInput(f"class averages have shape {averages.shape}", expected="(m, n, n) with n even")
    # Twice as fine, so that reading between four pixels costs little.
    fine = np.asarray(fourier_pad(averages.astype(np.float32), (2 * n, 2 * n), origin="centre"))
    axis = np.arange(n) - n // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    turned = np.empty((len(averages), len(psi_grid(psi_step_deg)), n, n), dtype=np.float32)
    for i, angle in enumerate(np.radians(psi_grid(psi_step_deg))):
        # The angle turns the frame (CONVENTIONS: rotations are passive), so the picture turns the other way.
        at_x = 2.0 * (np.cos(angle) * x - np.sin(angle) * y) + n
        at_y = 2.0 * (np.sin(angle) * x + np.cos(angle) * y) + n
        turned[:, i] = _read(fine, at_x, at_y)
    return fft2_centred(turned.reshape(-1, n, n)).astype(np.complex64)


def _read(images: F32, x: Reals, y: Reals) -> F32:
    """Bilinear values of images `(m, n, n)` at places; 0 outside."""
    n = images.shape[-1]
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    inside = (left >= 0) & (left < n - 1) & (top >= 0) & (top < n - 1)
    left, top = np.clip(left, 0, n - 2), np.clip(top, 0, n - 2)
    right_part, low_part = x - left, y - top
    upper = images[:, top, left] * (1 - right_part) + images[:, top, left + 1] * right_part
    lower = images[:, top + 1, left] * (1 - right_part) + images[:, top + 1, left + 1] * right_part
    values: F32 = np.where(inside, upper * (1 - low_part) + lower * low_part, 0.0).astype(np.float32)
    return values


@dataclass(frozen=True)
class Bank:
    """Templates of norm 1 as sums of orthonormal kernels.

    Parameters
    ----------
    kernels
        `(k, n, n)` float32, origin at ``[n//2, n//2]``.
    parts
        `(t, k)` float32, rows of norm 1.
    kept_frac
        Share of the templates' power that the kernels hold, on average.
    """

    kernels: F32
    parts: F32
    kept_frac: float

    def template(self, index: Ints) -> F32:
        """Templates `(m, n, n)` of norm 1 by number."""
        n = self.kernels.shape[-1]
        made: F32 = (self.parts[index] @ self.kernels.reshape(len(self.kernels), -1)).reshape(-1, n, n)
        return made


def make_bank(views: Complexes, weight: Reals) -> Bank:
    """Templates from views `(t, n, n//2+1)` times CTF, band and whitening `weight` `(n, n//2+1)`.

    References
    ----------
    Range finder of randomised decompositions: Halko, Martinsson & Tropp, SIAM Rev. 53, 217 (2011),
    doi 10.1137/090771806, algorithm 4.4 with one power iteration.
    """
    images = ifft2_centred((views * weight).astype(np.complex64)).astype(np.float32)
    flat = images.reshape(len(images), -1)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    if not np.all(norm > 0):
        raise InvalidInput("a template is empty within the band that is looked at", remedy="Look at the map's pixel.")
    flat = flat / norm
    n_most = min(_MOST_DIMENSIONS, *flat.shape)
    # The draw is always the same: it spans the space whatever it is, up to what is lost anyway.
    start = np.random.default_rng(0).standard_normal((flat.shape[1], n_most)).astype(np.float32)
    spanned, _ = np.linalg.qr(flat.T @ (flat @ start))
    left, size, right = np.linalg.svd(flat @ spanned, full_matrices=False)
    held = np.cumsum(size.astype(np.float64) ** 2) / len(flat)
    n_kept = int(np.searchsorted(held, (1.0 - _LOST_FRAC) * held[-1])) + 1
    parts = left[:, :n_kept] * size[:n_kept]
    parts = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    kernels = (spanned @ right[:n_kept].T).T.reshape(n_kept, *images.shape[1:])
    return Bank(np.ascontiguousarray(kernels), parts.astype(np.float32), float(held[n_kept - 1]))


def basis_maps(white_ft: C64, shape: tuple[int, int], bank: Bank, crop: tuple[int, int]) -> F32:
    """Correlate a whitened image, given by its raw half transform, with each kernel: `(k, *crop)` float32."""
    n = bank.kernels.shape[-1]
    if n > min(shape):
        raise InvalidInput(f"templates of {n} px in an image of {shape} px", remedy="Make the diameter smaller.")
    maps = np.empty((len(bank.kernels), *crop), dtype=np.float32)
    for i, kernel in enumerate(bank.kernels):
        frame = np.zeros(shape, dtype=np.float32)
        frame[:n, :n] = kernel
        frame = np.roll(frame, (-(n // 2), -(n // 2)), axis=(0, 1))
        maps[i] = irfft2(white_ft * rfft2(frame).conj(), shape)[: crop[0], : crop[1]]
    return maps


def extremes(maps: F32, bank: Bank, *, floor: float) -> tuple[F32, F32]:
    """Highest and lowest value any template takes at each pixel of the basis maps `(k, ny, nx)`.

    Every other template is tried first, and all where one of these is beyond ±`floor`: neighbours in angle are so alike
    that nothing higher is missed.
    """
    flat = maps.reshape(len(maps), -1)
    every_other = np.ascontiguousarray(bank.parts[::2])
    high, low = np.empty(flat.shape[1], dtype=np.float32), np.empty(flat.shape[1], dtype=np.float32)
    for first in range(0, flat.shape[1], _COLUMNS_AT_ONCE):
        some = slice(first, first + _COLUMNS_AT_ONCE)
        values = every_other @ flat[:, some]
        high[some], low[some] = values.max(axis=0), values.min(axis=0)
    beyond = np.flatnonzero((high > floor) | (low < -floor))
    for first in range(0, len(beyond), _COLUMNS_AT_ONCE):
        some_px = beyond[first : first + _COLUMNS_AT_ONCE]
        values = bank.parts @ flat[:, some_px]
        high[some_px], low[some_px] = values.max(axis=0), values.min(axis=0)
    shape = maps.shape[1:]
    return high.reshape(shape), low.reshape(shape)


def best_templates(maps: F32, bank: Bank, positions_px: Reals, *, sign: float = 1.0) -> Ints:
    """Which template is highest at each position `(m, 2)` (x, y) [px]; lowest for a `sign` of −1."""
    at = np.rint(positions_px).astype(np.int64)
    best: Ints = np.argmax(sign * (bank.parts @ maps[:, at[:, 1], at[:, 0]]), axis=0)
    return best


@dataclass(frozen=True)
class Chance:
    """How many peaks noise gives: `n_tail` above z = `level`, fewer by exp(−(z² − level²)/2·`width`) above it."""

    n_tail: float
    level: float
    width: float

    def n_above(self, z: float) -> float:
        """Peaks expected above `z`, which is not below the level."""
        return float(self.n_tail * np.exp(-0.5 * (max(z, self.level) ** 2 - self.level**2) / self.width))

    def z_for(self, n: float) -> float:
        """Threshold above which `n` peaks are expected."""
        if n >= self.n_tail:
            return self.level
        return float(np.sqrt(self.level**2 + 2.0 * self.width * np.log(self.n_tail / max(n, 1e-9))))


def chance_of(bank: Bank, area_px: float, rng: np.random.Generator) -> Chance:
    """Count the peaks that this bank finds in white noise, and extrapolate to an image of `area_px`.

    Notes
    -----
    The search over angles makes the tail of the maximum other than that of one template, and how much depends on how
    alike the templates are; so it is measured: the highest peaks exceed the level by z² − level² that is distributed
    exponentially, as for the maxima of a Gaussian field up to powers of z.
    """
    side = max(_NOISE_PX, 2 * bank.kernels.shape[-1])
    white = rfft2(rng.standard_normal((side, side)).astype(np.float32)).astype(np.complex64)
    high, low = extremes(basis_maps(white, (side, side), bank, (side, side)), bank, floor=_NOISE_FLOOR)
    values = np.concatenate([local_maxima(one, threshold=1.0)[1] for one in (high, -low)])
    n_tail = min(_N_TAIL, len(values) - 1)
    tail = np.sort(values)[::-1][: n_tail + 1]
    level = float(tail[-1])
    width = float(np.mean(tail[:-1] ** 2 - level**2) / 2.0)
    return Chance(n_tail * area_px / (2.0 * side * side), level, max(width, 0.1))


def whitened(canvas: Canvas, power: Reals) -> C64:
    """Transform of the padded image with noise of variance 1 in every pixel."""
    scale = np.sqrt(1.0 / power)
    scale[0] = 0.0
    white: C64 = canvas.ft * scale.astype(np.float32)[canvas.ring]
    return white
