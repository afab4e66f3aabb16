"""Exponentials of whole rows of float32 values as vector instructions; a call of `exp` a value would stand alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics._numba.jit import jit

Array = npt.NDArray[Any]


@jit
def padded(n: int) -> int:
    """Next multiple of sixteen, the lanes that are summed side by side: so sums keep their order on any machine."""
    return (n + 15) // 16 * 16


@jit
def powers_below(values: Array, best: float, reach: float, bits: Array, out: Array) -> None:
    """Fill `out` with ``exp(values - best)``, zero where that is below ``exp(-reach)`` and behind the values.

    Two to a whole power is put together from its bits, in `bits` int32; two to what is left, between -1/2 and 1/2, is
    its series to the sixth power (relative error below 2e-7).
    """
    top, deepest = np.float32(best), np.float32(-reach)
    log2_e, ln_2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
    half, one = np.float32(0.5), np.float32(1.0)
    a2, a3, a4 = np.float32(1.0 / 2.0), np.float32(1.0 / 6.0), np.float32(1.0 / 24.0)
    a5, a6 = np.float32(1.0 / 120.0), np.float32(1.0 / 720.0)
    n = values.shape[0]
    for j in range(n):
        gain = values[j] - top
        gain = gain if gain > deepest else deepest
        power = gain * log2_e
        whole = np.int32(power - half) if power < 0 else np.int32(power + half)
        x = (power - np.float32(whole)) * ln_2
        bits[j] = (whole + np.int32(127)) << np.int32(23)
        series = one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * (a5 + x * a6)))))
        out[j] = series if gain > deepest else np.float32(0.0)
    scale = bits.view(np.float32)
    for j in range(n):
        out[j] *= scale[j]
    out[n:] = np.float32(0.0)


@jit
def lane_sum(values: Array, lanes: Array) -> float:
    """Sum of a padded row; `lanes` is work space."""
    lanes[:] = np.float32(0.0)
    for first in range(0, values.shape[0], 16):
        for lane in range(16):
            lanes[lane] += values[first + lane]
    total = 0.0
    for lane in range(16):
        total += lanes[lane]
    return total
