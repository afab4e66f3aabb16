"""Frames moved by smooth fields and summed in weighted ways at once; where they move is found in ``patch_motion``.

Frames are interpolated once, in real space, along x and then along y, block by block of pixels that move alike. Sums
that differ in the weights of the frames only are made together: nothing but these sums is ever transformed.

References
----------
Two passes: Catmull & Smith, Comput. Graph. 14, 279 (1980), doi 10.1145/965105.807505. Kernel: see ``warp``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import C64, F32, Floats, Ints, Reals, native
from cryoframe.numerics.fourier import irfft2, rfft2
from cryoframe.numerics.warp import REACH, STEPS, sinc_table

#: Side of the blocks that are moved as one. A field that changes by 0.2 % of a pixel a pixel is off by 0.03 px at most.
BLOCK = 64
#: Rows and columns that are summed while they fit into a core's own memory.
_TILE = (128, 256)
_N_PARTS = 64
_Real = npt.NDArray[np.generic]


def bin_frame(out: F32, frame: _Real, gain: F32, line: F32) -> None:
    """Reference of the compiled loop of the same name."""
    factor = frame.shape[1] // out.shape[1]
    ny, nx = out.shape[0] * factor, out.shape[1] * factor
    whole = frame.astype(np.float32) * gain
    out[...] = whole[:ny, :nx].reshape(out.shape[0], factor, out.shape[1], factor).sum(axis=(1, 3))


def add_tile(totals: F32, frames: _Real, gain: F32, shifts: Reals, table: F32, weights: F32, place: Ints) -> None:
    """Reference of the compiled loop of the same name.

    Parameters
    ----------
    totals
        `(c, h, w)`, added to: rows and columns of the frames from `place` on.
    frames, gain
        `(f, ny, nx)`, and what they are multiplied by: of the same shape, or of one pixel.
    shifts
        `(f, by, bx, 2)` (dx, dy) of the blocks of the whole frame.
    table
        Weights of :func:`cryoframe.numerics.warp.sinc_table`.
    weights
        `(f, c)` of frames in sums.
    place
        Block side, first row, first column; both multiples of the side.
    """
    block, top, left = (int(i) for i in place)
    ny, nx = frames.shape[1:]
    rows, columns = top + np.arange(totals.shape[1]), left + np.arange(totals.shape[2])
    taps = np.arange(2 * REACH) - (REACH - 1)
    for frame, shift, weight in zip(frames, shifts, weights, strict=True):
        d = -shift[rows // block][:, columns // block]
        whole = np.floor(d).astype(np.int64)
        by_x, by_y = (table[np.rint((d - whole)[..., a] * STEPS).astype(np.int64)] for a in (0, 1))
        x = _mirrored(columns[None, :, None] + whole[..., 0, None] + taps, nx)
        y = _mirrored(rows[:, None, None] + whole[..., 1, None] + taps, ny)
        source = frame * gain if gain.size > 1 else frame * gain[0, 0]
        moved = np.einsum("hwij,hwi,hwj->hw", source[y[..., :, None], x[..., None, :]], by_y, by_x)
        totals += weight[:, None, None] * moved


def _mirrored(i: Ints, n: int) -> Ints:
    inside = i % (2 * n)
    return np.where(inside < n, inside, 2 * n - 1 - inside)


def block_centres(shape: tuple[int, int]) -> tuple[Reals, Reals]:
    """Centres (y, x) of the blocks of a frame [px], `(by,)` and `(bx,)`; blocks at the end may stick out."""
    y, x = (BLOCK * np.arange(-(-n // BLOCK), dtype=np.float64) + 0.5 * (BLOCK - 1) for n in shape)
    return np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)


def binned(frame: _Real, gain: F32, factor: int) -> F32:
    """Frame `(ny, nx)` times gain, summed over blocks of `factor`², `(ny//factor, nx//factor)`."""
    out: F32 = np.empty((frame.shape[0] // factor, frame.shape[1] // factor), dtype=np.float32)
    module = native(np, "motion_sum")
    loop = bin_frame if module is None else module.bin_frame
    loop(out, frame, gain, np.empty(frame.shape[1], dtype=np.float32))
    return out


class MovedSums:
    """Weighted sums of frames that are moved by fields.

    Parameters
    ----------
    shape
        Of the frames.
    weights
        `(f, c)` of the frames in each of `c` sums.
    """

    def __init__(self, shape: tuple[int, int], weights: F32) -> None:
        self.weights = np.ascontiguousarray(weights, dtype=np.float32)
        self.totals = np.zeros((weights.shape[1], *shape), dtype=np.float32)
        self._used = np.zeros((2, _N_PARTS + 1))
        self._table = sinc_table()

    def add(self, frames: _Real, gain: F32, shifts: Reals, first: int, *, n_threads: int = 1) -> None:
        """Add frames `first`, `first` + 1, … `(f, ny, nx)`; the result does not depend on the number of threads.

        Parameters
        ----------
        frames, gain, shifts
            As :func:`add_tile`.
        """
        shape = self.totals.shape[1:]
        grid = tuple(-(-n // BLOCK) for n in shape)
        if frames.shape[1:] != shape or shifts.shape != (len(frames), *grid, 2) or gain.shape not in (shape, (1, 1)):
            raise InvalidInput(
                f"frames of {frames.shape}, shifts of {shifts.shape} and a gain of {gain.shape} were given",
                expected=f"frames of {shape} and shifts of {(len(frames), *grid, 2)}",
            )
        if not np.isfinite(shifts).all():
            raise InvalidInput("a shift is not finite", expected="finite shifts [px]")
        module = native(np, "motion_sum")
        loop = add_tile if module is None else module.add_tile
        weights = self.weights[first : first + len(frames)]
        fields = np.ascontiguousarray(shifts, dtype=np.float64)

        def one(corner: tuple[int, int]) -> None:
            y, x = corner
            tile = self.totals[:, y : y + _TILE[0], x : x + _TILE[1]]
            loop(tile, frames, gain, fields, self._table, weights, np.array([BLOCK, y, x], dtype=np.int64))

        corners = [(y, x) for y in range(0, shape[0], _TILE[0]) for x in range(0, shape[1], _TILE[1])]
        with ThreadPoolExecutor(max(n_threads, 1)) as pool:
            for _ in pool.map(one, corners):
                pass
        parts = np.rint((-fields - np.floor(-fields)) * _N_PARTS).astype(np.int64)
        for axis in (0, 1):
            self._used[axis] += np.bincount(parts[..., axis].ravel(), minlength=_N_PARTS + 1)

    def responses(self, shape: tuple[int, int]) -> tuple[F32, F32]:
        """Inverse of what interpolation left of each frequency on average, along y and x of the raw half layout.

        What is left falls to about a half at Nyquist; nothing is raised to more than its double.
        """
        return _response(self._used[1], np.fft.fftfreq(shape[0])), _response(self._used[0], np.fft.rfftfreq(shape[1]))


def _response(used: Reals, frequency: Floats) -> F32:
    """One over the mean transfer of the kernel, by how often each part of a pixel was `used`, `(len(frequency),)`."""
    part = np.arange(_N_PARTS + 1) / _N_PARTS
    offset = np.arange(2 * REACH) - (REACH - 1) - part[:, None]
    share = sinc_table()[:: STEPS // _N_PARTS] * (used / max(used.sum(), 1.0))[:, None]
    waves = np.cos(2.0 * np.pi * np.abs(frequency)[:, None] * offset.ravel())
    inverse: F32 = (1.0 / np.maximum(waves @ share.ravel(), 0.5)).astype(np.float32)
    return inverse


def blend(outs: C64, spectra: C64, along_y: F32, along_x: F32, curves: F32, step: Reals) -> None:
    """Reference of the compiled loop of the same name: outs `(o, …)` += Σ_c spectra `(c, …)` · along · curve(|k|).

    `curves` `(o, c, n)` are given at whole numbers of ``hypot(step[0]·row, step[1]·column)``, rows beyond half the
    height being negative, and are linear in between.
    """
    ny, nx = spectra.shape[1:]
    row = np.arange(ny)
    row = np.where(row > ny // 2, row - ny, row)
    at = np.hypot(row[:, None] * step[0], np.arange(nx)[None, :] * step[1])
    common = along_y[:, None] * along_x
    for o, c in np.ndindex(curves.shape[:2]):
        outs[o] += spectra[c] * (common * np.interp(at, np.arange(curves.shape[2]), curves[o, c])).astype(np.float32)


def combined(sums: MovedSums, curves: F32, shape: tuple[int, int], *, n_threads: int = 1) -> list[F32]:
    """Images made of the sums, each sum's transform times a curve of frequency; what interpolation took is given back.

    Parameters
    ----------
    sums
        `c` of them.
    curves
        `(o, c, n)` at even steps from zero frequency to the corner, hypot(½, ½) cycles a pixel.
    shape
        Of the sums.

    Returns
    -------
    `o` images `(ny, nx)` float32.
    """
    module = native(np, "motion_sum")
    loop = blend if module is None else module.blend
    along = sums.responses(shape)
    step = np.array([1.0 / n for n in shape]) * (curves.shape[2] - 1) / np.hypot(0.5, 0.5)
    half = (shape[0], shape[1] // 2 + 1)
    made = np.zeros((len(curves), *half), dtype=np.complex64)
    spectra: C64 = np.empty((len(sums.totals), *half), dtype=np.complex64)
    for c, total in enumerate(sums.totals):
        spectra[c] = rfft2(total, n_threads=n_threads)
    loop(made, spectra, along[0], along[1], curves, step)
    del spectra
    return [irfft2(ft, shape, n_threads=n_threads) for ft in made]
