"""Compiled average of a map over its symmetry-related copies; the groups live in the public module."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import Floats, Reals


@jit
def accumulate(volume: Floats, operators: Reals, out: Floats) -> None:
    """Fill `out` `(n, n, n)` with the mean over `operators` `(g, 3, 3)` of the tri-linear values inside the box."""
    n = volume.shape[0]
    centre, last = n // 2, n - 1
    for k in range(n):
        for j in range(n):
            for i in range(n):
                total = 0.0
                count = 0
                for g in range(operators.shape[0]):
                    a = operators[g]
                    u, v, w = i - centre, j - centre, k - centre
                    x = a[0, 0] * u + a[0, 1] * v + a[0, 2] * w + centre
                    y = a[1, 0] * u + a[1, 1] * v + a[1, 2] * w + centre
                    z = a[2, 0] * u + a[2, 1] * v + a[2, 2] * w + centre
                    # The same allowance for rounding at the border as the generic path.
                    if min(x, y, z) < -1e-6 or max(x, y, z) > last + 1e-6:
                        continue
                    x0 = min(max(int(np.floor(x + 1e-9)), 0), last - 1)
                    y0 = min(max(int(np.floor(y + 1e-9)), 0), last - 1)
                    z0 = min(max(int(np.floor(z + 1e-9)), 0), last - 1)
                    fx = min(max(x - x0, 0.0), 1.0)
                    fy = min(max(y - y0, 0.0), 1.0)
                    fz = min(max(z - z0, 0.0), 1.0)
                    low = (1.0 - fy) * ((1.0 - fx) * volume[z0, y0, x0] + fx * volume[z0, y0, x0 + 1])
                    low += fy * ((1.0 - fx) * volume[z0, y0 + 1, x0] + fx * volume[z0, y0 + 1, x0 + 1])
                    high = (1.0 - fy) * ((1.0 - fx) * volume[z0 + 1, y0, x0] + fx * volume[z0 + 1, y0, x0 + 1])
                    high += fy * ((1.0 - fx) * volume[z0 + 1, y0 + 1, x0] + fx * volume[z0 + 1, y0 + 1, x0 + 1])
                    total += (1.0 - fz) * low + fz * high
                    count += 1
                out[k, j, i] = total / count


def symmetrise(volume: Floats, operators: Reals) -> Floats:
    """Mean `(n, n, n)` of the map over `operators`, of the map's type."""
    out = np.empty_like(volume, order="C")
    accumulate(np.ascontiguousarray(volume), operators, out)
    return out
