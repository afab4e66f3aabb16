"""Central slices on a CUDA device; signature and meaning are those of cryoframe.numerics.projection."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

#: One thread a slice and frequency. Complex values are pairs of floats; geometry as in the generic code.
SOURCE = r"""
extern "C" __global__ void read_slices(
    const float2* volume, const double* rotations, const double* points,
    const int n_slices, const int n_points, const int n, float2* out)
{
    const long long id = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= (long long)n_slices * n_points) return;
    const int i = (int)(id / n_points), p = (int)(id % n_points);
    const double* a = rotations + 9 * i;
    const double kx = points[2 * p], ky = points[2 * p + 1];
    double x = kx * a[0] + ky * a[3], y = kx * a[1] + ky * a[4], z = kx * a[2] + ky * a[5];
    const bool flipped = x < 0.0;
    if (flipped) { x = -x; y = -y; z = -z; }
    const int x0 = (int)floor(x), y0 = (int)floor(y), z0 = (int)floor(z);
    const float fx = (float)(x - x0), fy = (float)(y - y0), fz = (float)(z - z0);
    const int half = n / 2 + 1;
    float re = 0.0f, im = 0.0f;
    for (int corner = 0; corner < 8; ++corner) {
        const int dx = corner & 1, dy = (corner >> 1) & 1, dz = corner >> 2;
        const int column = min(x0 + dx, n / 2);
        const int row = (y0 + dy + n / 2) % n, plane = (z0 + dz + n / 2) % n;
        const float weight = (dx ? fx : 1.0f - fx) * (dy ? fy : 1.0f - fy) * (dz ? fz : 1.0f - fz);
        const float2 value = volume[((long long)plane * n + row) * half + column];
        re += weight * value.x;
        im += weight * value.y;
    }
    out[id] = make_float2(re, flipped ? -im : im);
}
"""


@cache
def _kernel() -> Any:
    import cupy

    return cupy.RawKernel(SOURCE, "read_slices")


def project_points(xp: ModuleType, volume_ft: Array, rotations: Array, points: Array, *, padding: int) -> Array:
    """Device counterpart of `cryoframe.numerics.projection.project_points`, for complex64."""
    turned = xp.ascontiguousarray(rotations, dtype=xp.float64)
    scaled = xp.ascontiguousarray(xp.asarray(points, dtype=xp.float64) * padding)
    stored = xp.ascontiguousarray(volume_ft, dtype=xp.complex64)
    n_slices, n_points, n = len(turned), len(scaled), volume_ft.shape[0]
    out = xp.empty((n_slices, n_points), dtype=xp.complex64)
    if out.size:
        blocks = (out.size + 255) // 256
        arguments = (stored, turned, scaled, xp.int32(n_slices), xp.int32(n_points), xp.int32(n), out)
        _kernel()((blocks,), (256,), arguments)
    sliced: Array = out
    return sliced
