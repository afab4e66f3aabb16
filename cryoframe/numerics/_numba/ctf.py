"""Compiled CTF of many particles: the loop of :mod:`cryoframe.numerics.ctf`; no physics that is not there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import F32, Floats, Reals


@jit
def fill(out: F32, x: Reals, y: Reals, extra: Reals, columns: Reals, wavelength: float, cs: float) -> None:
    """Fill `out` `(m, p)` at frequencies `x`, `y` `(p,)`; `columns` `(5, m)` are U, V, angle [rad], offset [rad], B."""
    second = np.pi * wavelength
    fourth = 0.5 * np.pi * cs * wavelength**3
    for i in range(out.shape[0]):
        mean = 0.5 * (columns[0, i] + columns[1, i])
        half = 0.5 * (columns[0, i] - columns[1, i])
        # Δf·k² = mean·k² + half·(cos 2θ₀ (x²−y²) + sin 2θ₀ 2xy): no angle of the frequency is needed.
        along = half * np.cos(2.0 * columns[2, i])
        across = half * np.sin(2.0 * columns[2, i])
        offset, b_factor = columns[3, i], columns[4, i]
        for p in range(x.size):
            x2, y2 = x[p] * x[p], y[p] * y[p]
            k2 = x2 + y2
            defocus_k2 = mean * k2 + along * (x2 - y2) + across * 2.0 * x[p] * y[p]
            value = -np.sin(fourth * k2 * k2 - second * defocus_k2 + extra[p] - offset)
            if b_factor != 0.0:
                value *= np.exp(-0.25 * b_factor * k2)
            out[i, p] = value


def ctf_half(x: Floats, y: Floats, extra: Floats, columns: Sequence[Reals], optics: tuple[float, float, float]) -> F32:
    """`(m, n, n//2+1)` float32 at true frequencies.

    Parameters
    ----------
    x, y, extra
        Broadcastable to `(n, n//2+1)`: frequencies [1/Å] and what symmetric aberrations add to γ [rad].
    columns
        U, V [Å], angle, phase shift [degrees], B [Å²], `(m,)` each.
    optics
        Wavelength [Å], Cs [Å], phase of the amplitude contrast [rad].
    """
    wavelength, cs, amplitude_phase = optics
    u, v, angle, shift, b_factor = columns
    table = np.stack([u, v, np.radians(angle), np.radians(shift) + amplitude_phase, b_factor])
    shape = np.broadcast_shapes(x.shape, y.shape, extra.shape)
    flat_x, flat_y, flat_extra = (
        np.ascontiguousarray(np.broadcast_to(a, shape), dtype=np.float64).ravel() for a in (x, y, extra)
    )
    out: F32 = np.empty((table.shape[1], flat_x.size), dtype=np.float32)
    fill(out, flat_x, flat_y, flat_extra, table, wavelength, cs)
    return out.reshape(-1, *shape)
