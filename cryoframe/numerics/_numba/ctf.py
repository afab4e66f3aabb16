"""Compiled CTF of many particles: the loop of :mod:`cryoframe.numerics.ctf`; no physics that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Reals

if TYPE_CHECKING:
    from cryoframe.numerics.ctf import Aberrations


@jit
def fill(out: F32, kx: Reals, ky: Reals, columns: Reals, optics: Reals) -> None:
    """Fill `out` `(m, len(ky), len(kx))`; `columns` `(5, m)` are U, V, angle [rad], offset [rad], B.

    `optics` are wavelength, Cs [Å], tetrafoil (2), magnification (4, by rows).
    """
    wavelength, cs, tetra_cos, tetra_sin = optics[0], optics[1], optics[2], optics[3]
    second = np.pi * wavelength
    fourth = 0.5 * np.pi * cs * wavelength**3
    for i in range(out.shape[0]):
        mean = 0.5 * (columns[0, i] + columns[1, i])
        half = 0.5 * (columns[0, i] - columns[1, i])
        # Δf·k² = mean·k² + half·(cos 2θ₀ (x²−y²) + sin 2θ₀ 2xy): no angle of the frequency is needed.
        along = half * np.cos(2.0 * columns[2, i])
        across = half * np.sin(2.0 * columns[2, i])
        offset, b_factor = columns[3, i], columns[4, i]
        for row in range(ky.size):
            for column in range(kx.size):
                x = optics[4] * kx[column] + optics[5] * ky[row]
                y = optics[6] * kx[column] + optics[7] * ky[row]
                x2, y2 = x * x, y * y
                k2 = x2 + y2
                defocus_k2 = mean * k2 + along * (x2 - y2) + across * 2.0 * x * y
                gamma = -second * defocus_k2 + fourth * k2 * k2
                gamma += tetra_cos * (x2 * x2 - 6.0 * x2 * y2 + y2 * y2) + tetra_sin * 4.0 * x * y * (x2 - y2)
                value = -np.sin(gamma - offset)
                if b_factor != 0.0:
                    value *= np.exp(-0.25 * b_factor * k2)
                out[i, row, column] = value


def ctf_half(
    kx: Reals,
    ky: Reals,
    columns: Sequence[Reals],
    optics: tuple[float, float, float],
    aberrations: Aberrations,
) -> F32:
    """`(m, n, n//2+1)` float32; `columns` are U, V [Å], angle, phase shift [degrees], B [Å²], `(m,)` each."""
    wavelength, cs, amplitude_phase = optics
    u, v, angle, shift, b_factor = columns
    table = np.stack([u, v, np.radians(angle), np.radians(shift) + amplitude_phase, b_factor])
    (xx, xy), (yx, yy) = aberrations.magnification
    constants = np.array([wavelength, cs, *aberrations.tetrafoil_rad_A4, xx, xy, yx, yy], dtype=np.float64)
    out: F32 = np.empty((table.shape[1], ky.size, kx.size), dtype=np.float32)
    fill(out, np.ascontiguousarray(kx), np.ascontiguousarray(ky), table, constants)
    return out
