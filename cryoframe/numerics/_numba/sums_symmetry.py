"""Compiled sum of sums over rotations of the grid; meaning as in cryoframe.numerics.sums_symmetry."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

Array = npt.NDArray[Any]


@jit
def _is_first(x: int, y: int, z: int, steps: Array, signs: Array, place: Array) -> bool:
    """Whether no related voxel comes before this one; fills `place` `(h, 4)`: (x, y, z) with x >= 0, and 1 or -1."""
    for h in range(steps.shape[0]):
        for axis in range(3):
            step = steps[h, axis]
            place[h, axis] = signs[h, axis] * (x if step == 0 else y if step == 1 else z)
        place[h, 3] = 1
        a, b, c = place[h, 0], place[h, 1], place[h, 2]
        if a < 0 or (a == 0 and (b < 0 or (b == 0 and c < 0))):
            a, b, c = -a, -b, -c
            place[h, 0], place[h, 1], place[h, 2], place[h, 3] = a, b, c, -1
        if a < x or (a == x and (b < y or (b == y and c < z))):
            return False
    return True


@jit
def _voxel(numerator: Array, weight: Array, place: Array) -> None:
    """Sum over the related places, and give each of them that sum."""
    middle = numerator.shape[0] // 2
    total, density = numerator.dtype.type(0.0), weight.dtype.type(0.0)
    for h in range(place.shape[0]):
        x, y, z = place[h, 0], place[h, 1] + middle, place[h, 2] + middle
        value = numerator[z, y, x]
        total += value if place[h, 3] > 0 else np.conj(value)
        density += weight[z, y, x]
    for h in range(place.shape[0]):
        x, y, z = place[h, 0], place[h, 1], place[h, 2]
        value = total if place[h, 3] > 0 else np.conj(total)
        numerator[z + middle, y + middle, x] = value
        weight[z + middle, y + middle, x] = density
        if x == 0:
            numerator[middle - z, middle - y, 0] = np.conj(value)
            weight[middle - z, middle - y, 0] = density


@jit(parallel=True)
def _spread(numerator: Array, weight: Array, steps: Array, signs: Array) -> None:
    middle = numerator.shape[0] // 2
    for line in prange(middle * (2 * middle - 1)):
        # Voxels of one orbit are handled by the thread that owns the first of them.
        x, y = line // (2 * middle - 1), line % (2 * middle - 1) + 1 - middle
        place = np.empty((steps.shape[0], 4), np.int64)
        for z in range(1 - middle, middle):
            if x == 0 and (y < 0 or (y == 0 and z < 0)):
                continue
            if _is_first(x, y, z, steps, signs, place):
                _voxel(numerator, weight, place)


def spread(xp: ModuleType, numerator: Array, weight: Array, steps: Array, signs: Array) -> None:
    """Compiled `cryoframe.numerics.sums_symmetry.generic_spread`."""
    _spread(numerator, weight, steps, signs)
