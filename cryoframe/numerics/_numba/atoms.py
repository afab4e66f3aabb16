"""Compiled loop of :mod:`cryoframe.numerics.atoms`; scattering factors and layout are decided there."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Ints, Reals


@jit
def add_gaussians(volume: F32, centres: Reals, kinds: Ints, heights: Reals, rates: Reals, reach: float) -> None:
    """Add Σ h·exp(−rate·r²) of each atom within `reach` voxels; `heights`, `rates` are `(atoms, terms)`, voxels."""
    n_z, n_y, n_x = volume.shape
    n_terms = heights.shape[1]
    width = 2 * int(np.ceil(reach)) + 2
    along_x = np.empty((n_terms, width))
    along_y = np.empty((n_terms, width))
    for i in range(centres.shape[0]):
        kind = kinds[i]
        x, y, z = centres[i, 0], centres[i, 1], centres[i, 2]
        x0, x1 = max(int(np.ceil(x - reach)), 0), min(int(np.floor(x + reach)), n_x - 1)
        y0, y1 = max(int(np.ceil(y - reach)), 0), min(int(np.floor(y + reach)), n_y - 1)
        z0, z1 = max(int(np.ceil(z - reach)), 0), min(int(np.floor(z + reach)), n_z - 1)
        for t in range(n_terms):
            for ix in range(x0, x1 + 1):
                along_x[t, ix - x0] = np.exp(-rates[kind, t] * (ix - x) ** 2)
            for iy in range(y0, y1 + 1):
                along_y[t, iy - y0] = np.exp(-rates[kind, t] * (iy - y) ** 2)
        for iz in range(z0, z1 + 1):
            for t in range(n_terms):
                at_z = heights[kind, t] * np.exp(-rates[kind, t] * (iz - z) ** 2)
                for iy in range(y0, y1 + 1):
                    at_y = at_z * along_y[t, iy - y0]
                    for ix in range(x0, x1 + 1):
                        volume[iz, iy, ix] += np.float32(at_y * along_x[t, ix - x0])
