"""Compiled sums of :mod:`cryoframe.numerics.motion`; no decision of the correction is made here."""

from __future__ import annotations

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import C64, F32, Ints


@jit
def add_moved(plain: C64, weighted: C64, ft: C64, ramp_y: C64, ramp_x: C64, weight: F32, ring: Ints) -> None:
    """Add `ft` times the outer product of the ramps to `plain`, and that times ``weight[ring]`` to `weighted`."""
    for row in range(ft.shape[0]):
        for column in range(ft.shape[1]):
            value = ft[row, column] * (ramp_y[row] * ramp_x[column])
            plain[row, column] += value
            weighted[row, column] += value * weight[ring[row, column]]
