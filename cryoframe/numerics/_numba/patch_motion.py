"""Compiled loops of :mod:`cryoframe.numerics.patch_motion`: how alike the frames of a patch are; no decision here."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import C64, F32, Ints, Reals


@jit
def move(moved: C64, spectra: C64, index: Ints, waves_x: C64, waves_y: C64, fade: F32) -> None:
    """Fill `moved` with the spectra of a patch times its waves and what exposure has left of them."""
    for f in range(spectra.shape[0]):
        source, out, x, y, left = spectra[f], moved[f], waves_x[f], waves_y[f], fade[f]
        for i in range(len(out)):
            out[i] = source[i] * (x[index[0, i]] * y[index[1, i]]) * left[index[2, i]]


@jit
def compare(
    moved: C64, total: C64, index: Ints, k: F32, weights: F32, slopes: Reals, bends: Reals, rings: Reals
) -> None:
    """Fill slope `(f, 2)` and bend `(3,)` of the likeness of each frame to all others, and their product by ring."""
    for f in range(moved.shape[0]):
        mine = moved[f]
        sx = sy = 0.0
        for i in range(len(mine)):
            ring = index[2, i]
            z = np.conj(mine[i]) * (total[i] - mine[i])
            rings[ring] += z.real
            w = weights[ring]
            kx, ky = k[0, i], k[1, i]
            sx -= w * kx * z.imag
            sy -= w * ky * z.imag
            w *= z.real
            bends[0] += w * kx * kx
            bends[1] += w * kx * ky
            bends[2] += w * ky * ky
        slopes[f, 0] = sx
        slopes[f, 1] = sy
