"""Compiled posteriors over all poses; meaning as in cryoframe.numerics.angular_soft."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.angular_search import angle_line, together
from cryoframe.numerics._numba.exponential import padded, powers_below
from cryoframe.numerics._numba.jit import jit

if TYPE_CHECKING:
    from cryoframe.numerics.angular_soft import Weights

Array = npt.NDArray[Any]

#: Poses that much less probable than the level count as impossible: even 10^9 of them would hold less than 10^-28.
DEEPEST = 85.0


@jit(parallel=True)
def _weigh(
    parts: tuple[Array, Array, Array, Array, Array, Array],
    rows: Array,
    level: Array,
    scale: float,
    even: Array,
    odd: Array,
    flat: Array,
) -> None:
    half, k_all, t_all = even.shape[0], flat.shape[2], even.shape[2] // flat.shape[2]
    n = k_all * t_all
    for b in prange(rows.shape[0]):
        line, offset = np.empty((k_all, t_all), np.float32), np.empty(k_all, np.float32)
        low, high = np.empty(padded(n), np.float32), np.empty(padded(n), np.float32)
        bits = np.empty(padded(n), np.int32)
        for p in range(half):
            angle_line(parts, (rows[b], p), scale, offset, line)
            powers_below(line.reshape(n), level[b], DEEPEST, bits, low)
            angle_line(parts, (rows[b], p + half), scale, offset, line)
            powers_below(line.reshape(n), level[b], DEEPEST, bits, high)
            for j in range(n):
                even[p, b, j] = low[j] + high[j]
                odd[p, b, j] = low[j] - high[j]
            for k in range(k_all):
                total = np.float32(0.0)
                for j in range(k * t_all, (k + 1) * t_all):
                    total += even[p, b, j]
                flat[p, b, k] = total


def weigh(
    xp: ModuleType,
    parts: tuple[Array, Array, Array],
    rows: Array,
    level: Array,
    *,
    log_reference: Array,
    log_shift: tuple[Array, Array],
    scale: float,
) -> Weights:
    """Compiled `cryoframe.numerics.angular_soft.generic_weigh`."""
    from cryoframe.numerics.angular_soft import Weights

    half, _, k = parts[2].shape
    b, columns = len(rows), parts[0].shape[2]
    out = Weights(
        np.empty((half, b, columns), np.float32),
        np.empty((half, b, columns), np.float32),
        np.empty((half, b, k), np.float32),
        np.ones(b),
    )
    scores = together(parts, log_reference, log_shift)
    _weigh(scores, np.asarray(rows, np.int64), np.asarray(level, np.float64), scale, *out[:3])
    return out
