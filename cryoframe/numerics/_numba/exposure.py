"""Compiled loop of :mod:`cryoframe.numerics.exposure`: one slab through the lens; no physics that is not there."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import C64, Reals


@jit
def add_slab(total: C64, slab_ft: C64, kx: Reals, ky: Reals, matrix: Reals, extra: Reals, numbers: Reals) -> None:
    """Add ``slab_ft`` times CTF and damping; `numbers` in the order the public module lists them, Å and rad."""
    wavelength, cs = numbers[0], numbers[1]
    mean, half = 0.5 * (numbers[2] + numbers[3]), 0.5 * (numbers[2] - numbers[3])
    along, across = half * np.cos(2.0 * numbers[4]), half * np.sin(2.0 * numbers[4])
    offset, b_factor = numbers[5], numbers[6]
    temporal = 0.5 * (np.pi * wavelength * numbers[7]) ** 2
    spatial = (np.pi * numbers[8] / wavelength) ** 2
    limit = numbers[9] * numbers[9]
    second, fourth = np.pi * wavelength, 0.5 * np.pi * cs * wavelength**3
    with_extra = extra.size > 1
    damped = b_factor != 0.0 or temporal != 0.0 or spatial != 0.0
    for row in range(total.shape[0]):
        for column in range(total.shape[1]):
            x = matrix[0, 0] * kx[column] + matrix[0, 1] * ky[row]
            y = matrix[1, 0] * kx[column] + matrix[1, 1] * ky[row]
            k2 = x * x + y * y
            if k2 > limit:
                continue
            # Δf·k² = mean·k² + half·(cos 2θ₀ (x²−y²) + sin 2θ₀ 2xy): no angle of the frequency is needed.
            defocus_k2 = mean * k2 + along * (x * x - y * y) + across * 2.0 * x * y
            gamma = fourth * k2 * k2 - second * defocus_k2
            if with_extra:
                gamma += extra[row, column]
            value = -np.sin(gamma - offset)
            if damped:
                exponent = 0.25 * b_factor * k2 + temporal * k2 * k2
                if spatial != 0.0 and k2 > 0.0:
                    # (Cs·λ³·k³ − Δf·λ·k)² without the root of k².
                    slope = cs * wavelength**3 * k2 * k2 - wavelength * defocus_k2
                    exponent += spatial * slope * slope / k2
                value *= np.exp(-exponent)
            total[row, column] += np.complex64(slab_ft[row, column] * value)
