"""Compiled sums of candidates; meaning as in cryoframe.numerics.angular_sums."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

if TYPE_CHECKING:
    from cryoframe.numerics.angular_sums import PolarSums

Array = npt.NDArray[Any]


@jit
def _segment(numerator: Array, weight: Array, value: Array, square: Array, phase: Array, sign: float) -> None:
    """Add one run of directions of a ring, conjugated where `sign` is -1."""
    for j in range(numerator.shape[0]):
        a, b = value[j].real, np.float32(sign) * value[j].imag
        c, d = phase[j].real, phase[j].imag
        numerator[j] += complex(a * c - b * d, a * d + b * c)
        weight[j] += square[j]


@jit(parallel=True)
def _add(
    numerator: Array,
    weight: Array,
    values: Array,
    weights: Array,
    image: Array,
    psi: Array,
    shift: Array,
    share: Array,
    bounds: Array,
    phases: Array,
    half: Array,
) -> None:
    n_rings, n_half = values.shape[1], values.shape[2]
    for k in prange(bounds.shape[0] - 1):
        for c in range(bounds[k], bounds[k + 1]):
            i, turns = image[c], psi[c]
            sign = 1.0
            if turns >= n_half:
                turns, sign = turns - n_half, -1.0
            left, s = n_half - turns, half[i]
            for r in range(n_rings):
                value, square = values[i, r] * share[c], weights[i, r] * share[c]
                phase = phases[shift[c], r]
                out, density = numerator[s, k, r], weight[s, k, r]
                _segment(out[turns:], density[turns:], value[:left], square[:left], phase[turns:], sign)
                _segment(out[:turns], density[:turns], value[left:], square[left:], phase[:turns], -sign)


def add(
    xp: ModuleType,
    sums: PolarSums,
    values: Array,
    weights: Array,
    columns: tuple[Array, Array, Array, Array],
    *,
    bounds: Array,
    phases: Array,
    half: Array,
) -> None:
    """Compiled `cryoframe.numerics.angular_sums.generic_add`."""
    image, psi, shift, share = columns
    _add(
        sums.numerator,
        sums.weight,
        np.ascontiguousarray(values, dtype=np.complex64),
        np.ascontiguousarray(weights, dtype=np.float32),
        np.ascontiguousarray(image, dtype=np.int64),
        np.ascontiguousarray(psi, dtype=np.int64),
        np.ascontiguousarray(shift, dtype=np.int64),
        np.ascontiguousarray(share, dtype=np.float32),
        np.ascontiguousarray(bounds, dtype=np.int64),
        phases,
        np.ascontiguousarray(half, dtype=np.int64),
    )
