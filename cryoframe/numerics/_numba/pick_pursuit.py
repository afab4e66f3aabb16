"""Inner products of one kernel with others at some distance, compiled; what they are for is the generic module's."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Ints, Reals


@jit(fastmath=True)  # lets the compiler add several at a time; the order of adding changes a sum by some 1e-7 of it
def overlaps(kernels: F32, best: int, rows: Ints, steps: Ints) -> Reals:
    """Inner product of kernel `best` with each of `rows`, moved by `steps` `(m, 2)` (x, y) [px]."""
    n = kernels.shape[1]
    found = np.zeros(len(rows), dtype=np.float64)
    for i in range(len(rows)):
        total = np.float32(0.0)
        row, x, y = rows[i], steps[i, 0], steps[i, 1]
        for at_y in range(max(y, 0), n + min(y, 0)):
            for at_x in range(max(x, 0), n + min(x, 0)):
                total += kernels[best, at_y, at_x] * kernels[row, at_y - y, at_x - x]
        found[i] = total
    return found
