"""Spectra of known CTF for the tests of its fit: means of exponentially distributed periodograms."""

from __future__ import annotations

import numpy as np

from cryoframe.numerics import ctf
from cryoframe.numerics.ctf import wavelength_A
from cryoframe.numerics.ctf_fit import Lens
from cryoframe.numerics.spectrum import full_of_half, half_of_full

PIXEL_A, N = 1.2, 512
SCOPE = {"voltage_kV": 300.0, "cs_mm": 2.7, "amplitude_contrast": 0.1}
LENS = Lens.of(300.0, 2.7, 0.1)


def point(u, v, angle, phase=0.0):
    """The point of a fit: mean, along, across, shift."""
    half, twice = 0.5 * (u - v), np.radians(2.0 * angle)
    return np.array([0.5 * (u + v), half * np.cos(twice), half * np.sin(twice), np.radians(phase)])


def _windowed(full):
    """Expectation of periodograms under a Hann window: (1, 4, 1)/6 along both axes."""
    for axis in (0, 1):
        full = (np.roll(full, 1, axis) + 4.0 * full + np.roll(full, -1, axis)) / 6.0
    return full


def power_of(u, v, angle, *, contrast=1.0, thickness_A=0.0, n_tiles=60, seed=1, n=N, pixel_A=PIXEL_A):
    """Half spectrum: counting noise of 1 and a specimen whose power falls off, rings faded by thickness."""
    kx, ky = ctf.half_frequencies(n, pixel_A)
    k2 = kx**2 + ky**2
    transfer = ctf.ctf_half(n, pixel_A, defocus_u_A=u, defocus_v_A=v, defocus_angle_deg=angle, **SCOPE)[0]
    rings = 0.5 + (transfer.astype(np.float64) ** 2 - 0.5) * np.sinc(wavelength_A(300.0) * k2 * thickness_A)
    mean = half_of_full(_windowed(full_of_half(1.0 + 4.0 * contrast * np.exp(-30.0 * k2) * rings)))
    return mean * np.random.default_rng(seed).gamma(n_tiles, 1.0 / n_tiles, size=mean.shape)
