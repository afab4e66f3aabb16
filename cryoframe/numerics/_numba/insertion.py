"""Compiled spreading of central slices; signature and meaning are those of cryoframe.numerics.insertion."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

if TYPE_CHECKING:
    from cryoframe.numerics.insertion import Accumulator

Array = npt.NDArray[Any]

# Each slab of z planes has one owner, which walks through all slices in order: no two threads write one voxel and
# each voxel is added to in the same order for any number of slabs and threads. More slabs than threads even out the
# load, but every slab looks at every sample: a thread alone has one.
SLABS_A_THREAD = 4


@jit
def _spread_plane(
    numerator: Array, weight: Array, plane: int, column: int, row: int, value: complex, square: float, part: Array
) -> None:
    n = numerator.shape[0]
    next_row = row + 1 if row + 1 < n else 0
    next_column = min(column + 1, n // 2)
    fx, fy, fz = part[0], part[1], part[2]
    one = np.float32(1.0)
    w00, w01 = fz * (one - fy) * (one - fx), fz * (one - fy) * fx
    w10, w11 = fz * fy * (one - fx), fz * fy * fx
    numerator[plane, row, column] += value * w00
    numerator[plane, row, next_column] += value * w01
    numerator[plane, next_row, column] += value * w10
    numerator[plane, next_row, next_column] += value * w11
    weight[plane, row, column] += square * w00
    weight[plane, row, next_column] += square * w01
    weight[plane, next_row, column] += square * w10
    weight[plane, next_row, next_column] += square * w11


@jit(parallel=True)
def _insert(
    numerator: Array, weight: Array, values: Array, weights: Array, rotations: Array, points: Array, n_slabs: int
) -> None:
    n = numerator.shape[0]
    slab_planes = (n + n_slabs - 1) // n_slabs
    for slab in prange(n_slabs):
        first = slab * slab_planes
        last = min(first + slab_planes, n)
        part = np.empty(3, dtype=np.float32)
        for i in range(rotations.shape[0]):
            for s in range(rotations.shape[1]):
                a = rotations[i, s]
                for p in range(points.shape[0]):
                    kx, ky = points[p, 0], points[p, 1]
                    x = kx * a[0, 0] + ky * a[1, 0]
                    z = kx * a[0, 2] + ky * a[1, 2]
                    flipped = x < 0.0
                    if flipped:
                        z = -z
                    z_low = int(np.floor(z))
                    plane = z_low + n // 2
                    above = plane + 1 if plane + 1 < n else 0
                    mine, mine_above = first <= plane < last, first <= above < last
                    if not (mine or mine_above):
                        continue
                    y = kx * a[0, 1] + ky * a[1, 1]
                    value = values[i, p]
                    if flipped:
                        x, y = -x, -y
                        value = np.conj(value)
                    column, row = int(np.floor(x)), int(np.floor(y))
                    part[0], part[1] = np.float32(x - column), np.float32(y - row)
                    row += n // 2
                    square = weights[i, p]
                    if mine:
                        part[2] = np.float32(1.0) - np.float32(z - z_low)
                        _spread_plane(numerator, weight, plane, column, row, value, square, part)
                    if mine_above:
                        part[2] = np.float32(z - z_low)
                        _spread_plane(numerator, weight, above, column, row, value, square, part)


def insert_points(
    xp: ModuleType, accumulator: Accumulator, values: Array, weights: Array, *, rotations: Array, points: Array
) -> None:
    """Compiled `cryoframe.numerics.insertion.insert_points`."""
    numerator = accumulator.numerator
    n_threads = numba.get_num_threads()
    _insert(
        numerator,
        accumulator.weight,
        np.ascontiguousarray(values, dtype=numerator.dtype),
        np.ascontiguousarray(weights, dtype=accumulator.weight.dtype),
        np.ascontiguousarray(rotations, dtype=np.float64),
        np.asarray(points, dtype=np.float64) * accumulator.padding,
        1 if n_threads == 1 else SLABS_A_THREAD * n_threads,
    )
