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


@jit
def scan_sums(table: F32, ring: Ints, weight: F32, terms: Reals, step: float, ring_sums: Reals, sums: Reals) -> None:
    """:func:`fringe_sums` at ``terms[0]``, ``terms[0] + step``, …: rows of `ring_sums` `(m, n_rings)`, `sums` `(m, 2)`.

    From one step to the next the phase of a sample turns by the same angle, so cosines follow from one another.
    """
    ring_sums[:] = 0.0
    sums[:] = 0.0
    for i in range(table.shape[0]):
        k2 = table[i, 0]
        phase = terms[0] * k2 + terms[1] * table[i, 1] + terms[2] * table[i, 2] + terms[3] * k2 * k2 + terms[4]
        cosine, sine = np.cos(phase), np.sin(phase)
        turn, across = np.cos(step * k2), np.sin(step * k2)
        for j in range(ring_sums.shape[0]):
            weighted = -weight[i] * cosine
            ring_sums[j, ring[i]] += weighted
            sums[j, 0] -= weighted * cosine
            sums[j, 1] += weighted * table[i, 3]
            cosine, sine = cosine * turn - sine * across, sine * turn + cosine * across
