"""Compiled sums of :mod:`cryoframe.numerics.ctf_fit`; no decision of the fit is made here."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Ints, Reals


@jit
def fringe_sums(table: F32, ring: Ints, weight: F32, terms: Reals, ring_sum: Reals) -> tuple[float, float]:
    """Fill `ring_sum` with Σ w·M a ring; return Σ w·M² and Σ w·M·D.

    `table` `(n, 4)`: k², k²·cos 2θ, k²·sin 2θ, D. `terms`: factors of the first three, of k⁴, and the constant.
    """
    ring_sum[:] = 0.0
    square = 0.0
    product = 0.0
    for i in range(table.shape[0]):
        k2 = table[i, 0]
        doubled = terms[0] * k2 + terms[1] * table[i, 1] + terms[2] * table[i, 2] + terms[3] * k2 * k2 + terms[4]
        fringe = -np.cos(doubled)
        weighted = weight[i] * fringe
        ring_sum[ring[i]] += weighted
        square += weighted * fringe
        product += weighted * table[i, 3]
    return square, product
