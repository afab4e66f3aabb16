"""Compiled reading of central slices; signature and meaning are those of cryoframe.numerics.projection."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

Array = npt.NDArray[Any]


@jit
def read_at(volume_ft: Array, x: float, y: float, z: float) -> complex:
    """Trilinear value at one padded frequency; the mate's conjugate for negative x."""
    n = volume_ft.shape[0]
    flipped = x < 0.0
    if flipped:
        x, y, z = -x, -y, -z
    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
    x1 = min(x0 + 1, n // 2)
    y0 += n // 2
    z0 += n // 2
    y1 = y0 + 1 if y0 + 1 < n else 0
    z1 = z0 + 1 if z0 + 1 < n else 0
    one = np.float32(1.0)
    gx, gy, gz = one - fx, one - fy, one - fz
    low = gy * (volume_ft[z0, y0, x0] * gx + volume_ft[z0, y0, x1] * fx) + fy * (
        volume_ft[z0, y1, x0] * gx + volume_ft[z0, y1, x1] * fx
    )
    high = gy * (volume_ft[z1, y0, x0] * gx + volume_ft[z1, y0, x1] * fx) + fy * (
        volume_ft[z1, y1, x0] * gx + volume_ft[z1, y1, x1] * fx
    )
    value = gz * low + fz * high
    folded: complex = np.conj(value) if flipped else value
    return folded


@jit(parallel=True)
def _slices(volume_ft: Array, rotations: Array, points: Array, out: Array) -> None:
    for i in prange(rotations.shape[0]):
        a = rotations[i]
        for p in range(points.shape[0]):
            kx, ky = points[p, 0], points[p, 1]
            x = kx * a[0, 0] + ky * a[1, 0]
            y = kx * a[0, 1] + ky * a[1, 1]
            z = kx * a[0, 2] + ky * a[1, 2]
            out[i, p] = read_at(volume_ft, x, y, z)


def project_points(xp: ModuleType, volume_ft: Array, rotations: Array, points: Array, *, padding: int) -> Array:
    """Compiled `cryoframe.numerics.projection.project_points`."""
    out = np.empty((rotations.shape[0], points.shape[0]), dtype=volume_ft.dtype)
    scaled = np.asarray(points, dtype=np.float64) * padding
    _slices(volume_ft, np.ascontiguousarray(rotations, dtype=np.float64), scaled, out)
    return out
