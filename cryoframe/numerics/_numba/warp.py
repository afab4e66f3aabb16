"""Compiled loops of :mod:`cryoframe.numerics.warp`: interpolation along rows, then along columns.

A run of pixels shares its weights and their slopes: lane i takes w + e·w′, e being how far its displacement is from the
run's. That is what lets the compiler fill vectors; the public module keeps runs short enough for e to be small.
"""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32

_ONE = np.uint64(1)
_STRIP = 512


@jit
def _add_run(
    out: F32, to: np.uint64, source: F32, first: np.uint64, step: np.uint64, n: np.uint64, line: F32, off: float,
    slope: float,
) -> None:  # fmt: skip
    """Write `n` lanes of ``Σ (w + e·w′)·source``, e = off + slope·i; `line` is w, then w′, for ten taps.

    Indices are unsigned, since a signed one might count from the end and would cost the vector loads.
    """
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 = (
        line[0], line[1], line[2], line[3], line[4], line[5], line[6], line[7], line[8], line[9],
    )  # fmt: skip
    d0, d1, d2, d3, d4, d5, d6, d7, d8, d9 = (
        line[10], line[11], line[12], line[13], line[14], line[15], line[16], line[17], line[18], line[19],
    )  # fmt: skip
    p1 = first + step
    p2 = p1 + step
    p3 = p2 + step
    p4 = p3 + step
    p5 = p4 + step
    p6 = p5 + step
    p7 = p6 + step
    p8 = p7 + step
    p9 = p8 + step
    start, growth = np.float32(off), np.float32(slope)
    for lane in range(n):
        i = np.uint64(lane)
        s0, s1, s2, s3, s4 = source[first + i], source[p1 + i], source[p2 + i], source[p3 + i], source[p4 + i]
        s5, s6, s7, s8, s9 = source[p5 + i], source[p6 + i], source[p7 + i], source[p8 + i], source[p9 + i]
        value = w0 * s0 + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5 + w6 * s6 + w7 * s7 + w8 * s8 + w9 * s9
        change = d0 * s0 + d1 * s1 + d2 * s2 + d3 * s3 + d4 * s4 + d5 * s5 + d6 * s6 + d7 * s7 + d8 * s8 + d9 * s9
        out[to + i] = value + (start + growth * np.float32(lane)) * change


@jit
def _between_rows(grid: F32, row: float, n_rows: int, line: F32) -> None:
    """Displacements at the columns of the grid, linear between its rows, for a row of the image."""
    gy = grid.shape[0]
    v = min(max(row, 0.0), n_rows - 1.0) * (gy - 1) / max(n_rows - 1, 1)
    i = min(int(v), max(gy - 2, 0))
    below, part = min(i + 1, gy - 1), v - i
    for j in range(grid.shape[1]):
        line[j] = grid[i, j] * (1.0 - part) + grid[below, j] * part


@jit
def _at_column(line: F32, column: float, n_columns: int) -> float:
    """Displacement at a column, linear between those of the grid."""
    gx = line.shape[0]
    u = min(max(column, 0.0), n_columns - 1.0) * (gx - 1) / max(n_columns - 1, 1)
    j = min(int(u), max(gx - 2, 0))
    right, part = min(j + 1, gx - 1), u - j
    between: float = line[j] * (1.0 - part) + line[right] * part
    return between


@jit
def _run_length(column: int, n_columns: int, n_nodes: int, run: int) -> int:
    """Pixels from `column` on that share weights: none beyond the next column of the grid, where slopes change."""
    n = min(run, n_columns - column)
    if n_nodes < 2:
        return n
    apart = (n_columns - 1) / (n_nodes - 1)
    node = (np.floor(column / apart + 1e-6) + 1.0) * apart
    return max(min(n, int(np.floor(node + 1e-6)) - column + 1), 1)


@jit
def displace_rows(out: F32, image: F32, grid_x: F32, table: F32, run: int, pad: int) -> None:
    """Fill rows `pad` to `pad + ny` of `out` with each row moved along itself, and the rest periodically."""
    ny, nx = image.shape
    steps, before = table.shape[0] - 1, table.shape[1] // 4 - 1
    wide = np.empty(nx + 2 * pad, dtype=np.float32)
    line = np.empty(grid_x.shape[1], dtype=np.float32)
    flat = out.reshape(-1)
    for row in range(ny):
        for i in range(pad):
            wide[i] = image[row, (i - pad) % nx]
            wide[pad + nx + i] = image[row, i % nx]
        wide[pad : pad + nx] = image[row]
        _between_rows(grid_x, float(row), ny, line)
        column = 0
        while column < nx:
            n = _run_length(column, nx, line.shape[0], run)
            first, last = _at_column(line, column, nx), _at_column(line, column + n - 1.0, nx)
            slope = (last - first) / max(n - 1, 1)
            place = column - 0.5 * (first + last)
            whole = np.floor(place)
            entry = int(np.rint((place - whole) * steps))
            off = (place - whole) - entry / steps + 0.5 * (last - first)
            _add_run(
                flat, np.uint64((row + pad) * nx + column), wide, np.uint64(int(whole) + pad - before), _ONE,
                np.uint64(n), table[entry], off, -slope,
            )  # fmt: skip
            column += n
    for i in range(pad):
        out[i] = out[pad + (i - pad) % ny]
        out[pad + ny + i] = out[pad + i % ny]


@jit
def displace_columns(out: F32, padded: F32, grid_y: F32, table: F32, run: int, pad: int) -> None:
    """Fill `out` `(ny, nx)` from `padded` `(ny + 2·pad, nx)`, each column moved along itself."""
    ny, nx = out.shape
    steps, before = table.shape[0] - 1, table.shape[1] // 4 - 1
    line = np.empty(grid_y.shape[1], dtype=np.float32)
    source, flat = padded.reshape(-1), out.reshape(-1)
    # A strip of columns at a time, so that the rows it is taken from stay in the nearest cache.
    for strip in range(0, nx, _STRIP):
        end = min(strip + _STRIP, nx)
        for row in range(ny):
            _between_rows(grid_y, float(row), ny, line)
            column = strip
            while column < end:
                n = min(_run_length(column, nx, line.shape[0], run), end - column)
                first, last = _at_column(line, column, nx), _at_column(line, column + n - 1.0, nx)
                place = row - 0.5 * (first + last)
                whole = np.floor(place)
                entry = int(np.rint((place - whole) * steps))
                off = (place - whole) - entry / steps + 0.5 * (last - first)
                _add_run(
                    flat, np.uint64(row * nx + column), source,
                    np.uint64((int(whole) + pad - before) * nx + column), np.uint64(nx), np.uint64(n), table[entry],
                    off, -(last - first) / max(n - 1, 1),
                )  # fmt: skip
                column += n
