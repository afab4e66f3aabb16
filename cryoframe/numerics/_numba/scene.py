"""Compiled loops of :mod:`cryoframe.numerics.scene_spectrum`: filters, fading, moving ice, motion of transforms.

All arrays are `(ny, nx//2+1)` in the raw half layout. `radial` tables are indexed by the length of the frequency times
`scale`, rounded; the public module makes them fine enough.
"""

from __future__ import annotations

import numpy as np

from cryoframe.numerics._numba.detector import mix
from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics.backend import C64, F32, Reals

_STEP = np.uint64(0x9E3779B97F4A7C15)
_LOW_12 = np.uint64(0xFFF)
_U12, _U24, _U36 = np.uint64(12), np.uint64(24), np.uint64(36)


@jit
def fill_filters(
    even: F32, odd: F32, ice: F32, kx: F32, ky: F32, matrix: Reals, extra: Reals, numbers: Reals, radial: F32
) -> None:
    """Fill the transfer of what lies at z = 0, of what lies beside it, and of a layer of ice about z = 0.

    With χ = γ − offset, `even` is −sin χ and `odd` cos χ, both times damping, `radial[0]` and the pixel's response;
    `ice` is the root of ½·(1 − cos 2χ·radial[2]), with the sign of `even`, times the same and `radial[1]`.
    `numbers`: wavelength, Cs, defocus u, v, angle, offset, B, focal spread, source angle, aperture, pixel, scale.
    """
    wavelength, cs, pixel, scale = numbers[0], numbers[1], numbers[10], numbers[11]
    mean, half = 0.5 * (numbers[2] + numbers[3]), 0.5 * (numbers[2] - numbers[3])
    along, across = half * np.cos(2.0 * numbers[4]), half * np.sin(2.0 * numbers[4])
    temporal = 0.5 * (np.pi * wavelength * numbers[7]) ** 2
    spatial = (np.pi * numbers[8] / wavelength) ** 2
    limit = numbers[9] * numbers[9]
    second, fourth = np.pi * wavelength, 0.5 * np.pi * cs * wavelength**3
    side_x = np.sinc(kx.astype(np.float64) * pixel)
    for row in range(even.shape[0]):
        side_y = np.sinc(float(ky[row]) * pixel)
        for column in range(even.shape[1]):
            x = matrix[0, 0] * kx[column] + matrix[0, 1] * ky[row]
            y = matrix[1, 0] * kx[column] + matrix[1, 1] * ky[row]
            k2 = x * x + y * y
            if k2 > limit:
                even[row, column] = odd[row, column] = ice[row, column] = 0.0
                continue
            defocus_k2 = mean * k2 + along * (x * x - y * y) + across * 2.0 * x * y
            chi = fourth * k2 * k2 - second * defocus_k2 - numbers[5]
            if extra.size > 1:
                chi += extra[row, column]
            exponent = 0.25 * numbers[6] * k2 + temporal * k2 * k2
            if spatial != 0.0 and k2 > 0.0:
                slope = cs * wavelength**3 * k2 * k2 - wavelength * defocus_k2
                exponent += spatial * slope * slope / k2
            at = int(np.sqrt(kx[column] * kx[column] + ky[row] * ky[row]) * scale + 0.5)
            left = np.exp(-exponent) * radial[0, at] * side_x[column] * side_y
            sine = -np.sin(chi)
            even[row, column] = left * sine
            odd[row, column] = left * np.cos(chi)
            depth = np.sqrt(max(0.5 * (1.0 - (1.0 - 2.0 * sine * sine) * radial[2, at]), 0.0))
            ice[row, column] = left * radial[1, at] * (depth if sine >= 0.0 else -depth)


@jit
def add_part(
    total: C64, even_ft: C64, odd_ft: C64, even: F32, odd: F32, kx: F32, ky: F32, left: F32, scale: np.float32
) -> None:
    """``total += left(|k|) · (even · even_ft + odd · odd_ft)``; an empty `odd_ft` stands for zeros."""
    with_odd = odd_ft.size > 0
    half = np.float32(0.5)
    for row in range(total.shape[0]):
        ky2 = ky[row] * ky[row]
        if with_odd:
            for column in range(total.shape[1]):
                factor = left[int(np.sqrt(kx[column] * kx[column] + ky2) * scale + half)]
                total[row, column] += factor * (
                    even[row, column] * even_ft[row, column] + odd[row, column] * odd_ft[row, column]
                )
        else:
            for column in range(total.shape[1]):
                factor = left[int(np.sqrt(kx[column] * kx[column] + ky2) * scale + half)]
                total[row, column] += (factor * even[row, column]) * even_ft[row, column]


@jit
def start_ice(state: C64, key: np.uint64, normal: F32) -> None:
    """Fill `state` with white noise of unit power: the transform of a real field, divided by the root of its pixels."""
    n_columns = state.shape[1]
    for row in range(state.shape[0]):
        for column in range(n_columns):
            bits = mix(key + np.uint64(row * n_columns + column + 1) * _STEP)
            state[row, column] = complex(normal[int(bits & _LOW_12)], normal[int((bits >> _U12) & _LOW_12)])


@jit
def advance_ice(
    state: C64, mean: C64, key: np.uint64, normal: F32, kx: F32, ky: F32, memory: F32, scale: float
) -> None:
    """Let the ice move for one frame; write its mean during the frame to `mean`, unless that is empty.

    `memory` `(n, 4)`: what is kept, what comes in, the weight of both ends in the mean, what the path between adds.
    """
    n_columns = state.shape[1]
    wanted = mean.size > 0
    for row in range(state.shape[0]):
        ky2 = ky[row] * ky[row]
        for column in range(n_columns):
            at = int(np.sqrt(kx[column] * kx[column] + ky2) * scale + 0.5)
            bits = mix(key + np.uint64(row * n_columns + column + 1) * _STEP)
            kept, fresh, ends, path = memory[at, 0], memory[at, 1], memory[at, 2], memory[at, 3]
            before = state[row, column]
            real = kept * before.real + fresh * normal[int(bits & _LOW_12)]
            imaginary = kept * before.imag + fresh * normal[int((bits >> _U12) & _LOW_12)]
            state[row, column] = complex(real, imaginary)
            if wanted:
                mean[row, column] = complex(
                    ends * (before.real + real) + path * normal[int((bits >> _U24) & _LOW_12)],
                    ends * (before.imag + imaginary) + path * normal[int((bits >> _U36) & _LOW_12)],
                )


@jit
def add_product(total: C64, ft: C64, factor: F32) -> None:
    """``total += ft · factor``."""
    for row in range(total.shape[0]):
        for column in range(total.shape[1]):
            total[row, column] += ft[row, column] * factor[row, column]


@jit
def product(out: C64, ft: C64, factor: F32) -> C64:
    """``out = ft · factor``; returns it."""
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[row, column] = ft[row, column] * factor[row, column]
    return out


@jit
def move(total: C64, ramp_x: C64, ramp_y: C64, kx: F32, ky: F32, streak_x: np.float32, streak_y: np.float32) -> None:
    """``total *= ramp_y · ramp_x · sinc(k·streak)`` in place."""
    along_x, along_y = np.float32(np.pi) * streak_x, np.float32(np.pi) * streak_y
    sine_x, cosine_x = np.sin(along_x * kx), np.cos(along_x * kx)
    one, least = np.float32(1.0), np.float32(1e-3)
    for row in range(total.shape[0]):
        sine_y, cosine_y = np.sin(along_y * ky[row]), np.cos(along_y * ky[row])
        for column in range(total.shape[1]):
            angle = along_x * kx[column] + along_y * ky[row]
            # sin of a sum from the sines of its parts: no sine a sample.
            sine = sine_x[column] * cosine_y + cosine_x[column] * sine_y
            blur = sine / angle if abs(angle) > least else one
            total[row, column] *= (ramp_y[row] * ramp_x[column]) * blur
