"""Compiled loops of :mod:`cryoframe.numerics.patch_motion`: how alike the frames of a patch are; no decision here."""

from __future__ import annotations

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import C64, Ints, Reals


@jit
def move(moved: C64, total: C64, spectra: C64, runs: Ints, waves_x: C64, waves_y: C64) -> None:
    """Fill `moved` with the spectra of a patch times its waves, run by run of a row, and add it to `total`."""
    for f in range(spectra.shape[0]):
        for r in range(runs.shape[0]):
            row, column, begin, end = runs[r]
            y = waves_y[f, row]
            x = waves_x[f, column : column + end - begin]
            source, out, added = spectra[f, begin:end], moved[f, begin:end], total[begin:end]
            for i in range(len(out)):
                value = source[i] * (x[i] * y)
                out[i] = value
                added[i] += value


@jit
def slope(out: Reals, moved: C64, along_x: C64, along_y: C64) -> None:
    """Fill `out` `(f, 2)` with the sums of the imaginary parts of ``conj(along)·moved``."""
    for f in range(moved.shape[0]):
        mine = moved[f]
        sx = sy = 0.0
        for i in range(len(mine)):
            value, x, y = mine[i], along_x[i], along_y[i]
            sx += value.imag * x.real - value.real * x.imag
            sy += value.imag * y.real - value.real * y.imag
        out[f, 0] = sx
        out[f, 1] = sy
