"""A map turned and moved into another box, in real space. Transforms are turned in `projection`."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics.backend import F32, Floats, Reals


def turned_volume(volume: Floats, rotation: Floats, *, n: int, shift_px: tuple[float, float, float]) -> F32:
    """A map turned and moved into another box, by tri-linear interpolation.

    Parameters
    ----------
    volume
        `(m, m, m)`.
    rotation
        `(3, 3)`, turns column vectors (x, y, z).
    n
        Side of the result.
    shift_px
        (x, y, z) of the map's origin in the result, from voxel n//2.

    Returns
    -------
    `(n, n, n)` float32, 0 where the map does not reach.
    """
    m = volume.shape[0]
    source = np.asarray(volume, dtype=np.float32)
    result = np.zeros((n, n, n), dtype=np.float32)
    axis = np.arange(n, dtype=np.float64) - n // 2
    back = np.asarray(rotation, dtype=np.float64).T
    x, y = axis[None, :] - shift_px[0], axis[:, None] - shift_px[1]
    for index, z in enumerate(axis - shift_px[2]):
        points = [back[row, 0] * x + back[row, 1] * y + back[row, 2] * z + m // 2 for row in range(3)]
        inside = np.ones((n, n), dtype=np.bool_)
        for values in points:
            inside &= (values >= 0.0) & (values < m - 1)
        if inside.any():
            result[index][inside] = _interpolated(source, [values[inside] for values in points])
    return result


def _interpolated(volume: F32, points: list[Reals]) -> F32:
    corner = [values.astype(np.intp) for values in points]
    part = [(values - low).astype(np.float32) for values, low in zip(points, corner, strict=True)]
    total = np.zeros(points[0].shape, dtype=np.float32)
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (part[2] if dz else 1 - part[2]) * (part[1] if dy else 1 - part[1])
                weight = weight * (part[0] if dx else 1 - part[0])
                total += weight * volume[corner[2] + dz, corner[1] + dy, corner[0] + dx]
    return total
