"""In-plane rotated references and CTF-corrected averages of images by class; no assignment to classes."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import namespace, native
from cryoframe.numerics.fourier import fft2_centred, ifft2_centred, shift_images

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ClassSums:
    """Sums of the classes on padded half grids; the arrays are added to in place.

    Attributes
    ----------
    numerator
        `(k, N, N//2 + 1)` complex64: sum of ``ctf * image / noise``.
    weight
        `(k, N, N//2 + 1)` float32: sum of ``ctf^2 / noise``.
    padding
        N over the box side.
    """

    numerator: Array
    weight: Array
    padding: int = 2


def empty_sums(n_classes: int, n: int, *, padding: int = 2) -> ClassSums:
    """Return zero sums for `n_classes` classes of boxes of side `n`."""
    shape = (n_classes, n * padding, n * padding // 2 + 1)
    return ClassSums(np.zeros(shape, dtype=np.complex64), np.zeros(shape, dtype=np.float32), padding)


def _fall_off(n: int, padding: int) -> npt.NDArray[np.float32]:
    """Real-space fall-off of bilinear interpolation in Fourier space, `(n, n)`; see projection.gridding_correction."""
    profile = np.sinc((np.arange(n) - n // 2) / (n * padding)) ** 2
    return np.asarray(profile[:, None] * profile[None, :], dtype=np.float32)


def prepare_references(references: Array, *, padding: int = 2) -> Array:
    """Make the padded, gridding-corrected transforms that :func:`rotate_references` reads.

    Parameters
    ----------
    references
        `(k, n, n)` float32, n even, origin at n//2.
    padding
        Ratio of the padded side to `n`.

    Returns
    -------
    `(k, N, N//2 + 1)` complex64, zero frequency at [N//2, 0].

    References
    ----------
    Gridding: O'Sullivan (1985), doi:10.1109/TMI.1985.4307723.
    """
    n = references.shape[-1]
    if references.ndim != 3 or references.shape[1] != n or n % 2:
        raise InvalidInput(f"references have shape {references.shape}", expected="(k, n, n) with n even")
    side, start = n * padding, (n * padding) // 2 - n // 2
    padded = np.zeros((len(references), side, side), dtype=np.float32)
    padded[:, start : start + n, start : start + n] = references / _fall_off(n, padding)
    return np.asarray(fft2_centred(padded), dtype=np.complex64)


def rotate_references(references_ft: Array, psi_deg: Array, points: Array, *, padding: int = 2) -> Array:
    """Values of in-plane rotated references at chosen frequencies.

    Parameters
    ----------
    references_ft
        `(k, N, N//2 + 1)` complex64 from :func:`prepare_references`.
    psi_deg
        `(j,)`: the reference is turned so that a pose (0, 0, psi) projects it; the sign of ``euler_to_matrix``.
    points
        `(p, 2)` (kx, ky) [cycles per unpadded box], ``|k| < n/2``.
    padding
        As given to :func:`prepare_references`.

    Returns
    -------
    `(k * j, p)` complex64; psi runs fastest.

    References
    ----------
    Rotation theorem: Bracewell, The Fourier Transform and Its Applications (1965).
    """
    side = references_ft.shape[1]
    x, y = rotated_points(psi_deg, points, padding=padding)
    flipped = x < 0
    x, y = np.where(flipped, -x, x), np.where(flipped, -y, y)
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0).astype(np.float32), (y - y0).astype(np.float32)
    flat = references_ft.reshape(len(references_ft), -1)
    total = np.zeros((len(references_ft), *x.shape), dtype=np.complex64)
    for dy, wy in ((0, 1.0 - fy), (1, fy)):
        for dx, wx in ((0, 1.0 - fx), (1, fx)):
            index = ((y0 + dy + side // 2) % side) * (side // 2 + 1) + np.minimum(x0 + dx, side // 2)
            total += flat[:, index] * (wy * wx)
    rotated = np.where(flipped, total.conj(), total)
    return np.ascontiguousarray(rotated.reshape(-1, len(points)))


def rotated_points(psi_deg: Array, points: Array, *, padding: int = 2) -> tuple[Array, Array]:
    """Padded frequencies (x, y), each `(j, p)`, of a reference that a pose of in-plane angle psi sees at `points`."""
    psi = np.radians(np.asarray(psi_deg, dtype=np.float64))[:, None]
    kx, ky = (points[:, axis].astype(np.float64)[None] * padding for axis in (0, 1))
    return kx * np.cos(psi) - ky * np.sin(psi), kx * np.sin(psi) + ky * np.cos(psi)


def add_images(
    sums: ClassSums, values: Array, weights: Array, *, class_ids: Array, psi_deg: Array, points: Array
) -> None:
    """Add images to their classes at their in-plane angles: the adjoint of :func:`rotate_references`.

    Parameters
    ----------
    sums
        Added to in place.
    values
        `(m, p)` complex64: CTF-multiplied, shifted, over the noise, times the probability of class and pose.
    weights
        `(m, p)` float32: squared CTF over the noise, times the probability.
    class_ids, psi_deg
        `(m,)` each.
    points
        `(p, 2)`.

    Notes
    -----
    Each class has one owner, which adds its images in order, so sums are bitwise equal for any number of threads.

    References
    ----------
    Scheres et al., J. Mol. Biol. 348, 139 (2005), doi:10.1016/j.jmb.2005.02.031.
    """
    xp = namespace(values, weights)
    fast = native(xp, "class_average")
    add = generic_add_images if fast is None else fast.add_images
    add(xp, sums, values, weights, class_ids=class_ids, psi_deg=psi_deg, points=points)


def generic_add_images(
    xp: ModuleType, sums: ClassSums, values: Array, weights: Array, *, class_ids: Array, psi_deg: Array, points: Array
) -> None:
    """Reference of :func:`add_images`."""
    side = sums.numerator.shape[1]
    x, y = rotated_points(psi_deg, points, padding=sums.padding)
    flipped = x < 0
    x, y = xp.where(flipped, -x, x), xp.where(flipped, -y, y)
    x0, y0 = xp.floor(x).astype(xp.int64), xp.floor(y).astype(xp.int64)
    fx, fy = x - x0, y - y0
    folded = xp.where(flipped, values.conj(), values)
    offset = xp.asarray(class_ids)[:, None] * (side * (side // 2 + 1))
    for dy, wy in ((0, 1.0 - fy), (1, fy)):
        for dx, wx in ((0, 1.0 - fx), (1, fx)):
            inside = ((y0 + dy + side // 2) % side) * (side // 2 + 1) + xp.minimum(x0 + dx, side // 2)
            xp.add.at(sums.numerator.reshape(-1), offset + inside, (folded * (wy * wx)).astype(xp.complex64))
            xp.add.at(sums.weight.reshape(-1), offset + inside, (weights * (wy * wx)).astype(xp.float32))


def solve_classes(first: ClassSums, second: ClassSums, *, r_max: float | None = None) -> tuple[Array, Array]:
    """Wiener-filtered averages of classes whose images were summed in two parts.

    Parameters
    ----------
    first, second
        Sums over two halves of the images of each class, weights in units of one over the noise power.
    r_max
        Frequencies beyond are left out. [cycles per unpadded box]

    Returns
    -------
    `(k, n, n)` float32 averages of both parts; `(k, n//2 + 1)` signal to noise ratio of each by ring, from the
    correlation of the two parts.

    References
    ----------
    Wiener filter from the spectral signal to noise ratio: Unser, Trus & Steven, Ultramicroscopy 23, 39 (1987); its
    relation to the ring correlation: Saxton & Baumeister, J. Microsc. 127, 127 (1982).
    """
    n_classes, side = first.numerator.shape[:2]
    n, padding = side // first.padding, first.padding
    rings = np.rint(radius(side) / padding).astype(np.int64)
    n_rings = n // 2 + 1
    averages = np.zeros((n_classes, n, n), dtype=np.float32)
    ssnr = np.zeros((n_classes, n_rings))
    inside = (rings < n_rings) if r_max is None else (rings <= min(r_max, n_rings - 1))
    start = side // 2 - n // 2
    for k in range(n_classes):
        parts = [_with_mates(part.numerator[k], part.weight[k]) for part in (first, second)]
        numerator, weight = parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
        mean_weight = _ring_sums(weight, rings, n_rings) / np.maximum(np.bincount(rings[rings < n_rings]), 1)
        if not mean_weight.any():
            continue
        ssnr[k] = _ring_ssnr(parts, rings, n_rings)
        ratio = np.maximum(ssnr[k], 1e-2)
        floor = np.maximum(mean_weight / ratio, 1e-6 * mean_weight.max())[np.minimum(rings, n_rings - 1)]
        estimate = np.where(inside, numerator / (weight + floor), 0.0).astype(np.complex64)
        real = ifft2_centred(estimate)[start : start + n, start : start + n]
        averages[k] = real / _fall_off(n, padding)
    return averages, ssnr


def centred(averages: Array, *, largest_px: float = 2.0) -> npt.NDArray[np.float32]:
    """Averages moved so that the centre of mass of their density comes to n//2.

    Parameters
    ----------
    averages
        `(k, n, n)` float32, protein bright; density above a quarter of the maximum counts.
    largest_px
        No average moves further than this.

    References
    ----------
    Definition.
    """
    n = averages.shape[-1]
    axis = np.arange(n) - n // 2
    density = np.maximum(averages - 0.25 * averages.max(axis=(1, 2), keepdims=True), 0.0)
    mass = np.maximum(density.sum(axis=(1, 2)), 1e-30)
    centre = np.stack([(density.sum(axis=1) @ axis) / mass, (density.sum(axis=2) @ axis) / mass], axis=1)
    length = np.linalg.norm(centre, axis=1, keepdims=True)
    shifts = -centre * np.minimum(1.0, largest_px / np.maximum(length, 1e-9))
    return np.asarray(shift_images(averages, shifts), dtype=np.float32)


def radius(side: int) -> npt.NDArray[np.float64]:
    """Distance from zero frequency of each sample of a half transform `(side, side//2 + 1)` [samples]."""
    return np.asarray(np.hypot((np.arange(side) - side // 2)[:, None], np.arange(side // 2 + 1)[None, :]))


def _with_mates(numerator: Array, weight: Array) -> tuple[Array, Array]:
    """Sums with Hermitian mates on the line kx = 0 added together."""
    side = len(numerator)
    mate = (side - np.arange(side)) % side
    numerator, weight = numerator.copy(), weight.copy()
    numerator[:, 0] += numerator[mate, 0].conj()
    weight[:, 0] += weight[mate, 0]
    return numerator, weight


def _ring_sums(values: Array, rings: Array, n_rings: int) -> Array:
    keep = rings < n_rings
    return np.bincount(rings[keep], weights=values[keep].astype(np.float64), minlength=n_rings)


def _ring_ssnr(parts: list[tuple[Array, Array]], rings: Array, n_rings: int) -> Array:
    """Signal to noise ratio of the sum of two parts, from their correlation smoothed over three rings."""
    # A small constant keeps samples of almost no weight, which are nearly all noise, from dominating a ring.
    floor = 0.1 * max(float(weight.max()) for _, weight in parts) + 1e-30
    one, two = (numerator / (weight + floor) for numerator, weight in parts)
    terms = (one.real * two.real + one.imag * two.imag, np.abs(one) ** 2, np.abs(two) ** 2)
    cross, power, other = (np.convolve(_ring_sums(term, rings, n_rings), np.ones(3), mode="same") for term in terms)
    correlation = np.clip(cross / np.sqrt(np.maximum(power * other, 1e-30)), 0.0, 0.999)
    return np.asarray(2.0 * correlation / (1.0 - correlation))
