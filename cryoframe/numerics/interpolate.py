"""Trilinear reading from, and spreading into, centred half Fourier volumes at arbitrary frequencies; no projections."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput

Array = npt.NDArray[Any]


def half_points(n: int, *, r_min: float = 0.0, r_max: float | None = None) -> npt.NDArray[np.int32]:
    """Independent frequencies of a real image of side `n`: each Hermitian pair once.

    Parameters
    ----------
    n
        Side of the image [px].
    r_min, r_max
        Frequencies with ``r_min <= |k| <= r_max`` are listed; also always ``|k| < n/2``, as the Nyquist
        frequency has no unambiguous sign. [cycles per box]

    Returns
    -------
    `(p, 2)` int32, columns kx >= 0 and ky; for kx = 0 only ky >= 0. Sorted by ky, then kx.

    References
    ----------
    Definition.
    """
    ky, kx = np.meshgrid(np.arange(-(n // 2), (n + 1) // 2), np.arange(n // 2 + 1), indexing="ij")
    squared = kx * kx + ky * ky
    keep = (squared >= r_min**2) & (4 * squared < n * n) & ((kx > 0) | (ky >= 0))
    if r_max is not None:
        keep &= squared <= r_max**2
    return np.stack([kx[keep], ky[keep]], axis=1).astype(np.int32)


def at_points(images_ft: Array, points: Array) -> Array:
    """Values of centred half transforms at whole frequencies.

    Parameters
    ----------
    images_ft
        `(..., n, n//2 + 1)`, zero frequency at [n//2, 0]: transforms, CTFs or weights.
    points
        `(p, 2)` integers (kx, ky), kx >= 0.

    Returns
    -------
    `(..., p)`, same dtype, C order.

    References
    ----------
    Definition.
    """
    n = images_ft.shape[-2]
    flat = images_ft.reshape(*images_ft.shape[:-2], -1)
    index = (points[:, 1] + n // 2) * images_ft.shape[-1] + points[:, 0]
    values: Array = flat.take(index, axis=-1)
    return values


def slice_coordinates(xp: ModuleType, rotations: Array, points: Array, *, padding: float = 1.0) -> Array:
    """Frequencies of the map that central slices pass through.

    Parameters
    ----------
    rotations
        `(m, 3, 3)`; rotates column vectors (x, y, z) of the map into the projection frame.
    points
        `(p, 2)` in-plane frequencies (kx, ky).
    padding
        Ratio of the padded volume's side to the image's.

    Returns
    -------
    `(m, p, 3)` float64 (x, y, z): ``padding * A^T (kx, ky, 0)``.

    References
    ----------
    Projection-slice theorem: Bracewell, Aust. J. Phys. 9, 198 (1956).
    """
    planar = xp.asarray(points, dtype=xp.float64) * padding
    axes = xp.asarray(rotations, dtype=xp.float64)[:, :2, :]
    placed: Array = planar[None, :, 0:1] * axes[:, None, 0, :] + planar[None, :, 1:2] * axes[:, None, 1, :]
    return placed


def corners(xp: ModuleType, coordinates: Array, n: int) -> tuple[Array, Iterator[tuple[Array, Array]]]:
    """Return where the Hermitian mate is read, and the eight (flat index, weight) pairs of trilinear interpolation.

    Parameters
    ----------
    coordinates
        `(..., 3)` (x, y, z) with ``|x| < n/2``; negative x is folded onto its Hermitian mate.
    n
        Side of the volume whose half transform `(n, n, n//2 + 1)` is addressed.

    References
    ----------
    Definition of trilinear interpolation on a periodic grid.
    """
    flipped = coordinates[..., 0] < 0
    folded = xp.where(flipped[..., None], -coordinates, coordinates)
    lower = xp.floor(folded)
    fraction = folded - lower
    whole = lower.astype(xp.int64)

    def each() -> Iterator[tuple[Array, Array]]:
        for corner in range(8):
            dx, dy, dz = corner & 1, (corner >> 1) & 1, corner >> 2
            x = xp.minimum(whole[..., 0] + dx, n // 2)
            y = (whole[..., 1] + dy + n // 2) % n
            z = (whole[..., 2] + dz + n // 2) % n
            weight = xp.ones_like(fraction[..., 0])
            for axis, upper in enumerate((dx, dy, dz)):
                part = fraction[..., axis]
                weight = weight * (part if upper else 1.0 - part)
            yield (z * n + y) * (n // 2 + 1) + x, weight

    return flipped, each()


def read(xp: ModuleType, volume_ft: Array, coordinates: Array) -> Array:
    """Trilinear values of a half Fourier volume.

    Parameters
    ----------
    volume_ft
        `(n, n, n//2 + 1)` complex, zero frequency at [n//2, n//2, 0].
    coordinates
        `(..., 3)` (x, y, z) [samples of `volume_ft`].

    Returns
    -------
    `(...)`, dtype of `volume_ft`.

    References
    ----------
    Definition.
    """
    flipped, each = corners(xp, coordinates, check_half_volume(volume_ft))
    flat = volume_ft.reshape(-1)
    total = xp.zeros(coordinates.shape[:-1], dtype=volume_ft.dtype)
    for index, weight in each:
        total = total + flat[index] * weight.astype(volume_ft.real.dtype)
    values: Array = xp.where(flipped, xp.conj(total), total)
    return values


def spread(xp: ModuleType, volume_ft: Array, coordinates: Array, values: Array) -> None:
    """Add `values` into a half Fourier volume, in place: the adjoint of :func:`read`.

    Parameters
    ----------
    volume_ft
        `(n, n, n//2 + 1)` complex or real; a real volume takes real values (weights), which have no phase to fold.
    coordinates
        `(..., 3)` (x, y, z).
    values
        `(...)`.

    References
    ----------
    Definition of the adjoint under the real inner product ``Re sum conj(a) b``.
    """
    flipped, each = corners(xp, coordinates, check_half_volume(volume_ft))
    folded = xp.where(flipped, xp.conj(values), values)
    flat = volume_ft.reshape(-1)
    for index, weight in each:
        xp.add.at(flat, index, (folded * weight).astype(volume_ft.dtype))


def check_half_volume(volume_ft: Array) -> int:
    """Return the side of a half Fourier volume, or say what is wrong with its shape."""
    shape = volume_ft.shape
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != shape[0] // 2 + 1 or shape[0] % 2:
        raise InvalidInput(
            f"half Fourier volume has shape {shape}",
            expected="(n, n, n//2 + 1) with n even",
            remedy="Make it with prepare_volume or fft3_centred from a cubic map of even side.",
        )
    return int(shape[0])
