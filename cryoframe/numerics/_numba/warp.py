"""Compiled loop of :mod:`cryoframe.numerics.warp`: interpolation at displaced places."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32


@jit
def displace(out: F32, image: F32, grid_px: F32, table: F32) -> None:
    """Fill `out` with ``image(x − d(x))``; the public module says how `grid_px` and `table` are laid out."""
    ny, nx = image.shape
    gy, gx = grid_px.shape[0], grid_px.shape[1]
    steps, n_taps = table.shape[0] - 1, table.shape[1]
    before = n_taps // 2 - 1
    for row in range(ny):
        v = row * (gy - 1) / max(ny - 1, 1)
        i = min(int(v), max(gy - 2, 0))
        below = min(i + 1, gy - 1)
        v -= i
        for column in range(nx):
            u = column * (gx - 1) / max(nx - 1, 1)
            j = min(int(u), max(gx - 2, 0))
            right = min(j + 1, gx - 1)
            u -= j
            top_x = grid_px[i, j, 0] * (1.0 - u) + grid_px[i, right, 0] * u
            top_y = grid_px[i, j, 1] * (1.0 - u) + grid_px[i, right, 1] * u
            bottom_x = grid_px[below, j, 0] * (1.0 - u) + grid_px[below, right, 0] * u
            bottom_y = grid_px[below, j, 1] * (1.0 - u) + grid_px[below, right, 1] * u
            x = column - (top_x * (1.0 - v) + bottom_x * v)
            y = row - (top_y * (1.0 - v) + bottom_y * v)
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            part_x, part_y = int(np.rint((x - x0) * steps)), int(np.rint((y - y0) * steps))
            inside = y0 >= before and x0 >= before and y0 + n_taps - before <= ny and x0 + n_taps - before <= nx
            total = np.float32(0.0)
            for a in range(n_taps):
                line = np.float32(0.0)
                if inside:
                    source_row = y0 + a - before
                    for b in range(n_taps):
                        line += table[part_x, b] * image[source_row, x0 + b - before]
                else:
                    source_row = (y0 + a - before) % ny
                    for b in range(n_taps):
                        line += table[part_x, b] * image[source_row, (x0 + b - before) % nx]
                total += table[part_y, a] * line
            out[row, column] = total
