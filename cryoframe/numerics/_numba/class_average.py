"""Compiled sums of classes; meaning as in cryoframe.numerics.class_average."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

if TYPE_CHECKING:
    from cryoframe.numerics.class_average import ClassSums

Array = npt.NDArray[Any]


@jit(parallel=True)
def _add(
    numerator: Array, weight: Array, values: Array, weights: Array, class_ids: Array, psi: Array, points: Array
) -> None:
    n_classes, side = numerator.shape[0], numerator.shape[1]
    for k in prange(n_classes):
        for i in range(values.shape[0]):
            if class_ids[i] != k:
                continue
            c, s = np.cos(psi[i]), np.sin(psi[i])
            for p in range(points.shape[0]):
                x = points[p, 0] * c - points[p, 1] * s
                y = points[p, 0] * s + points[p, 1] * c
                value = values[i, p]
                if x < 0.0:
                    x, y = -x, -y
                    value = np.conj(value)
                column, row = int(np.floor(x)), int(np.floor(y))
                fx, fy = np.float32(x - column), np.float32(y - row)
                row += side // 2
                below = row + 1 if row + 1 < side else 0
                right = min(column + 1, side // 2)
                one = np.float32(1.0)
                w00, w01 = (one - fy) * (one - fx), (one - fy) * fx
                w10, w11 = fy * (one - fx), fy * fx
                numerator[k, row, column] += value * w00
                numerator[k, row, right] += value * w01
                numerator[k, below, column] += value * w10
                numerator[k, below, right] += value * w11
                square = weights[i, p]
                weight[k, row, column] += square * w00
                weight[k, row, right] += square * w01
                weight[k, below, column] += square * w10
                weight[k, below, right] += square * w11


def add_images(
    xp: ModuleType, sums: ClassSums, values: Array, weights: Array, *, class_ids: Array, psi_deg: Array, points: Array
) -> None:
    """Compiled `cryoframe.numerics.class_average.generic_add_images`."""
    _add(
        sums.numerator,
        sums.weight,
        np.ascontiguousarray(values, dtype=np.complex64),
        np.ascontiguousarray(weights, dtype=np.float32),
        np.ascontiguousarray(class_ids, dtype=np.int64),
        np.radians(np.asarray(psi_deg, dtype=np.float64)),
        np.asarray(points, dtype=np.float64) * sums.padding,
    )
