"""Compiled interpolation between padded transforms and polar samples; meaning as in cryoframe.numerics.polar."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

Array = npt.NDArray[Any]


@jit(parallel=True)
def _read(transforms: Array, first: Array, weights: Array, out: Array) -> None:
    side = transforms.shape[1]
    for i in prange(transforms.shape[0]):
        for p in range(first.shape[0]):
            total = np.complex64(0.0)
            for b in range(4):
                row = first[p, 1] + b
                inside = row % side
                mate = (2 * (side // 2) - row) % side
                part = np.complex64(0.0)
                for a in range(4):
                    column = first[p, 0] + a
                    if column < 0:
                        part += weights[p, 0, a] * np.conj(transforms[i, mate, -column])
                    else:
                        part += weights[p, 0, a] * transforms[i, inside, column]
                total += weights[p, 1, b] * part
            out[i, p] = total


@jit(parallel=True)
def _spread(values: Array, first: Array, weights: Array, out: Array) -> None:
    side = out.shape[1]
    for i in prange(values.shape[0]):
        for p in range(first.shape[0]):
            for b in range(4):
                row = first[p, 1] + b
                inside = row % side
                mate = (2 * (side // 2) - row) % side
                for a in range(4):
                    column = first[p, 0] + a
                    part = values[i, p] * (weights[p, 0, a] * weights[p, 1, b])
                    if column < 0:
                        out[i, mate, -column] += np.conj(part)
                    else:
                        out[i, inside, column] += part
                    if column == 0:
                        out[i, mate, 0] += np.conj(part)


def read(xp: ModuleType, transforms: Array, first: Array, weights: Array) -> Array:
    """Compiled `cryoframe.numerics.polar.generic_read`."""
    out = np.empty((len(transforms), len(first)), dtype=np.complex64)
    _read(np.ascontiguousarray(transforms, dtype=np.complex64), first, weights, out)
    return out


def spread(xp: ModuleType, values: Array, first: Array, weights: Array, *, side: int) -> Array:
    """Compiled `cryoframe.numerics.polar.generic_spread`."""
    out = np.zeros((len(values), side, side // 2 + 1), dtype=np.complex64)
    _spread(np.ascontiguousarray(values, dtype=np.complex64), first, weights, out)
    return out
