"""Maps brought to another box and voxel size by exact trigonometric interpolation; no rotation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput

Array = npt.NDArray[Any]


def resampling_matrix(n_from: int, n_to: int, ratio: float) -> npt.NDArray[np.float64]:
    """Band-limited interpolation along one axis, as a matrix.

    Parameters
    ----------
    n_from, n_to
        Samples before and after; both origins are at index n//2.
    ratio
        New spacing over old spacing.

    Returns
    -------
    `(n_to, n_from)` float64. Rows of samples outside the old range are zero. Frequencies beyond the Nyquist frequency
    of the new spacing are left out, so nothing aliases.

    References
    ----------
    Trigonometric interpolation: Zygmund, Trigonometric Series (1959), chapter X; the kernel is Dirichlet's.
    """
    if n_from < 1 or n_to < 1 or not ratio > 0:
        raise InvalidInput(f"{n_from} samples to {n_to} at {ratio} times the spacing", expected="positive numbers")
    position = (np.arange(n_to) - n_to // 2) * ratio
    source = np.arange(n_from) - n_from // 2
    offset = position[:, None] - source[None, :]
    highest = min((n_from - 1) // 2, int(np.floor(0.5 * n_from / ratio - 1e-9)) if ratio > 1 else n_from)
    waves = np.arange(1, highest + 1)
    matrix = np.full(offset.shape, 1.0 / n_from)
    for wave in waves:
        matrix += (2.0 / n_from) * np.cos((2.0 * np.pi * wave / n_from) * offset)
    if n_from % 2 == 0 and ratio <= 1:
        matrix += np.cos(np.pi * offset) / n_from
    inside = (position >= source[0] - 0.5) & (position <= source[-1] + 0.5)
    return np.where(inside[:, None], matrix, 0.0)


def resample_volume(volume: Array, pixel_size_A: float, *, n: int, new_pixel_size_A: float) -> npt.NDArray[np.float32]:
    """Sample a map on another cubic grid with the same origin.

    Parameters
    ----------
    volume
        `(nz, ny, nx)` real, origin at index n//2 of each axis; axes may differ in length.
    pixel_size_A
        Its voxel.
    n
        Side of the result [px].
    new_pixel_size_A
        Voxel of the result.

    Returns
    -------
    `(n, n, n)` float32, zero where the map does not reach.

    References
    ----------
    As :func:`resampling_matrix`, along each axis.
    """
    if volume.ndim != 3:
        raise InvalidInput(f"map has shape {volume.shape}", expected="three axes (z, y, x)")
    result: Array = np.asarray(volume, dtype=np.float64)
    for axis in range(3):
        matrix = resampling_matrix(volume.shape[axis], n, new_pixel_size_A / pixel_size_A)
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result, dtype=np.float32)
