"""Compiled loops of :mod:`cryoframe.numerics.motion_sum`: frames binned, moved and added; nothing is decided here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import C64, F32, Reals


@jit
def bin_frame(out: F32, frame: npt.NDArray[np.generic], gain: F32, line: F32) -> None:
    """Sum blocks of `frame` times `gain` into `out`; a gain of one pixel counts for all."""
    even = gain.size == 1
    factor = frame.shape[1] // out.shape[1]
    width = out.shape[1] * factor
    for row in range(out.shape[0]):
        line[:width] = np.float32(0.0)
        for y in range(row * factor, (row + 1) * factor):
            if even:
                for x in range(width):
                    line[x] += np.float32(frame[y, x]) * gain[0, 0]
            else:
                for x in range(width):
                    line[x] += np.float32(frame[y, x]) * gain[y, x]
        for x in range(out.shape[1]):
            total = np.float32(0.0)
            for i in range(factor):
                total += line[x * factor + i]
            out[row, x] = total


@jit
def _reflected(i: int, n: int) -> int:
    """Index of a pixel within `n` for any `i`, mirrored at the borders as often as needed."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@jit
def _load(line: F32, frame: npt.NDArray[np.generic], gain: F32, y: int, first: int) -> None:
    """Fill `line` with row `y` times gain, from column `first` on; mirrored where there is no column."""
    ny, nx = frame.shape
    y = _reflected(y, ny)
    even = gain.size == 1
    begin, end = max(0, -first), min(len(line), nx - first)
    for i in range(begin):
        x = _reflected(first + i, nx)
        line[i] = np.float32(frame[y, x]) * (gain[0, 0] if even else gain[y, x])
    for i in range(max(end, 0), len(line)):
        x = _reflected(first + i, nx)
        line[i] = np.float32(frame[y, x]) * (gain[0, 0] if even else gain[y, x])
    # Slices, because an index that might be negative is looked at for each pixel.
    inner, source = line[begin:end], frame[y, first + begin : first + end]
    if even:
        for i in range(len(inner)):
            inner[i] = np.float32(source[i]) * gain[0, 0]
    else:
        factor = gain[y, first + begin : first + end]
        for i in range(len(inner)):
            inner[i] = np.float32(source[i]) * factor[i]


@jit
def _along(out: F32, line: F32, first: int, w: F32) -> None:
    """Ten-tap sum along a line; `out` begins where the first tap lies on ``line[first]``."""
    # Taps are taken out of the loop: it is compiled to vector instructions only where nothing it reads can change.
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9]
    m0, m1, m2, m3, m4 = line[first:], line[first + 1 :], line[first + 2 :], line[first + 3 :], line[first + 4 :]
    for i in range(len(out)):
        out[i] = w0 * m0[i] + w1 * m1[i] + w2 * m2[i] + w3 * m3[i] + w4 * m4[i]
    m0, m1, m2, m3, m4 = line[first + 5 :], line[first + 6 :], line[first + 7 :], line[first + 8 :], line[first + 9 :]
    for i in range(len(out)):
        out[i] += w5 * m0[i] + w6 * m1[i] + w7 * m2[i] + w8 * m3[i] + w9 * m4[i]


@jit
def _across(out: F32, m: F32, row: int, x0: int, w: F32) -> None:
    """Ten-tap sum down ten rows of `m`, from ``m[row, x0]`` on; in halves: more rows are not compiled to vectors."""
    x1 = x0 + len(out)
    m0, m1, m2 = m[row][x0:x1], m[row + 1][x0:x1], m[row + 2][x0:x1]
    m3, m4 = m[row + 3][x0:x1], m[row + 4][x0:x1]
    w0, w1, w2, w3, w4, w5, w6, w7, w8, w9 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9]
    for i in range(len(out)):
        out[i] = w0 * m0[i] + w1 * m1[i] + w2 * m2[i] + w3 * m3[i] + w4 * m4[i]
    m0, m1, m2 = m[row + 5][x0:x1], m[row + 6][x0:x1], m[row + 7][x0:x1]
    m3, m4 = m[row + 8][x0:x1], m[row + 9][x0:x1]
    for i in range(len(out)):
        out[i] += w5 * m0[i] + w6 * m1[i] + w7 * m2[i] + w8 * m3[i] + w9 * m4[i]


@jit
def _rows(
    moved: F32, frame: npt.NDArray[np.generic], gain: F32, shift: Reals, table: F32, place: npt.NDArray[np.int64]
) -> None:
    """Move the rows that a tile needs along x; `place`: block, first row, first column, first source row, margin."""
    block, top, left, source, margin = place
    n_taps, steps = table.shape[1], table.shape[0] - 1
    height, width = moved.shape
    line = np.empty(width + 2 * margin, dtype=np.float32)
    last = min(shift.shape[0] - 1, (frame.shape[0] - 1) // block)
    for j in range(height):
        _load(line, frame, gain, source + j, left - margin)
        # Where this row arrives: the middle of the rows that are asked for lies on the middle of the tile.
        arrives = top + j - (n_taps // 2 + 1)
        b = min(max(arrives // block, 0), last)
        for x in range(0, width, block):
            d = -shift[b, (left + x) // block, 0]
            whole = int(np.floor(d))
            part = int(np.rint((d - whole) * steps))
            begin = margin + x + whole - (n_taps // 2 - 1)
            _along(moved[j, x : min(x + block, width)], line, begin, table[part])


@jit
def add_tile(
    totals: F32,
    frames: npt.NDArray[np.generic],
    gain: F32,
    shifts: Reals,
    table: F32,
    weights: F32,
    place: npt.NDArray[np.int64],
) -> None:
    """Add all frames, moved, to a tile of the totals; the public module says how the arguments are laid out."""
    block, top, left = place[0], place[1], place[2]
    n_taps, steps = table.shape[1], table.shape[0] - 1
    height, width = totals.shape[1], totals.shape[2]
    rows = (height + block - 1) // block
    columns = (width + block - 1) // block
    value = np.empty(width, dtype=np.float32)
    where = np.empty(5, dtype=np.int64)
    for f in range(frames.shape[0]):
        mine = shifts[f, top // block : top // block + rows, left // block : left // block + columns]
        low, high = mine[:, :, 1].min(), mine[:, :, 1].max()
        widest = max(-mine[:, :, 0].min(), mine[:, :, 0].max(), 0.0)
        above = int(np.floor(-high)) - (n_taps // 2 - 1)
        below = int(np.floor(-low)) + n_taps // 2
        moved = np.empty((height + below - above, width), dtype=np.float32)
        where[:] = (block, top, left, top + above, int(np.ceil(widest)) + n_taps)
        _rows(moved, frames[f], gain, shifts[f], table, where)
        for row in range(height):
            i = row // block
            for j in range(columns):
                d = -mine[i, j, 1]
                whole = int(np.floor(d))
                taps = table[int(np.rint((d - whole) * steps))]
                x0, x1 = j * block, min((j + 1) * block, width)
                begin = row + whole - (n_taps // 2 - 1) - above
                _across(value[x0:x1], moved, begin, x0, taps)
            for c in range(totals.shape[0]):
                weight = weights[f, c]
                out = totals[c, row]
                for x in range(width):
                    out[x] += weight * value[x]


@jit
def blend(outs: C64, spectra: C64, along_y: F32, along_x: F32, curves: F32, step: Reals) -> None:
    """Add `spectra` times `along_y`, `along_x` and their `curves` at the distance from zero frequency to `outs`."""
    n_sums, ny, nx = spectra.shape
    last = curves.shape[2] - 2
    used = np.zeros((outs.shape[0], n_sums), dtype=np.bool_)
    for o in range(outs.shape[0]):
        for c in range(n_sums):
            used[o, c] = np.any(curves[o, c] != np.float32(0.0))
    index, part, common = np.empty(nx, dtype=np.int64), np.empty(nx, dtype=np.float32), np.empty(nx, dtype=np.float32)
    for row in range(ny):
        y = (row if row <= ny // 2 else row - ny) * step[0]
        for x in range(nx):
            at = np.sqrt((x * step[1]) ** 2 + y * y)
            index[x] = min(int(at), last)
            part[x] = min(at - index[x], 1.0)
            common[x] = along_y[row] * along_x[x]
        for o in range(outs.shape[0]):
            out = outs[o, row]
            for c in range(n_sums):
                if used[o, c]:
                    curve, ft = curves[o, c], spectra[c, row]
                    for x in range(nx):
                        i = index[x]
                        out[x] += ft[x] * (common[x] * (curve[i] + part[x] * (curve[i + 1] - curve[i])))


@jit
def keep(out: npt.NDArray[np.integer], total: F32, frame: F32) -> tuple[int, np.int32]:
    """Store `frame` in whole numbers and add it to `total`, all flat.

    Returns how many values were not whole or did not fit, and the largest where all did.
    """
    lost, highest = 0, np.int32(-(2**31))
    for i in range(len(out)):
        value = frame[i]
        whole = np.int32(value)
        out[i] = whole
        lost += np.float32(out[i]) != value
        highest = max(highest, whole)
        total[i] += value
    return lost, highest


@jit
def unlike(out: npt.NDArray[np.int64], total: F32, low: float, high: float, centre: float, limit: float) -> int:
    """Flat indices of pixels off the mean of the 24 around them by more than `limit`, and how many; see ``motion``.

    Values are cut at `low` and `high` in the mean. More than `out` has room for are counted only.
    """
    ny, nx = total.shape
    sums, line = np.zeros(nx, dtype=np.float32), np.empty(nx + 4, dtype=np.float32)
    found = 0
    for row in range(ny):
        sums[:] = np.float32(0.0)
        for d in range(-2, 3):
            other = total[min(max(row + d, 0), ny - 1)]
            for x in range(nx):
                sums[x] += min(max(other[x], low), high)
        line[2 : nx + 2] = sums
        line[0] = line[1] = sums[0]
        line[nx + 2] = line[nx + 3] = sums[nx - 1]
        here = total[row]
        for x in range(nx):
            five = line[x] + line[x + 1] + line[x + 2] + line[x + 3] + line[x + 4]
            off = here[x] - (five - min(max(here[x], low), high)) / np.float32(24.0) - centre
            if abs(off) > limit:
                if found < len(out):
                    out[found] = row * nx + x
                found += 1
    return found
