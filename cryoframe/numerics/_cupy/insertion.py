"""Spreading of central slices on a CUDA device; meaning as in cryoframe.numerics.insertion.

Additions are atomic, so the order of sums, and with it their last bits, may differ from run to run.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from cryoframe.numerics.insertion import Accumulator

Array = npt.NDArray[Any]

#: One thread a slice, symmetry-related place and frequency.
SOURCE = r"""
extern "C" __global__ void spread_slices(
    const float2* values, const float* weights, const double* rotations, const double* points,
    const int n_slices, const int n_places, const int n_points, const int n, float2* numerator, float* weight_sum)
{
    const long long id = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= (long long)n_slices * n_places * n_points) return;
    const int p = (int)(id % n_points);
    const long long place = id / n_points;
    const long long sample = (place / n_places) * n_points + p;
    const double* a = rotations + 9 * place;
    const double kx = points[2 * p], ky = points[2 * p + 1];
    double x = kx * a[0] + ky * a[3], y = kx * a[1] + ky * a[4], z = kx * a[2] + ky * a[5];
    float2 value = values[sample];
    if (x < 0.0) { x = -x; y = -y; z = -z; value.y = -value.y; }
    const int x0 = (int)floor(x), y0 = (int)floor(y), z0 = (int)floor(z);
    const float fx = (float)(x - x0), fy = (float)(y - y0), fz = (float)(z - z0);
    const int half = n / 2 + 1;
    for (int corner = 0; corner < 8; ++corner) {
        const int dx = corner & 1, dy = (corner >> 1) & 1, dz = corner >> 2;
        const int column = min(x0 + dx, n / 2);
        const int row = (y0 + dy + n / 2) % n, plane = (z0 + dz + n / 2) % n;
        const float share = (dx ? fx : 1.0f - fx) * (dy ? fy : 1.0f - fy) * (dz ? fz : 1.0f - fz);
        const long long at = ((long long)plane * n + row) * half + column;
        atomicAdd(&numerator[at].x, share * value.x);
        atomicAdd(&numerator[at].y, share * value.y);
        atomicAdd(&weight_sum[at], share * weights[sample]);
    }
}
"""


@cache
def _kernel() -> Any:
    import cupy

    return cupy.RawKernel(SOURCE, "spread_slices")


def insert_points(
    xp: ModuleType, accumulator: Accumulator, values: Array, weights: Array, *, rotations: Array, points: Array
) -> None:
    """Device counterpart of `cryoframe.numerics.insertion.insert_points`; other types go the generic way."""
    if accumulator.numerator.dtype != xp.complex64:
        from cryoframe.numerics.insertion import generic_insert_points

        generic_insert_points(xp, accumulator, values, weights, rotations=rotations, points=points)
        return
    turned = xp.ascontiguousarray(rotations, dtype=xp.float64)
    scaled = xp.ascontiguousarray(xp.asarray(points, dtype=xp.float64) * accumulator.padding)
    n_slices, n_places, n_points = turned.shape[0], turned.shape[1], len(scaled)
    total = n_slices * n_places * n_points
    if total:
        arguments = (
            xp.ascontiguousarray(values, dtype=xp.complex64),
            xp.ascontiguousarray(weights, dtype=xp.float32),
            turned,
            scaled,
            xp.int32(n_slices),
            xp.int32(n_places),
            xp.int32(n_points),
            xp.int32(accumulator.numerator.shape[0]),
            accumulator.numerator,
            accumulator.weight,
        )
        _kernel()(((total + 255) // 256,), (256,), arguments)
