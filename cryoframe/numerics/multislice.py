"""Multislice propagation of the electron wave through thick specimens, and its image; the weak-phase road is exposure.

A slice multiplies the wave with exp(i·σ·P), free space between slices with exp(−iπ·λ·k²·dz) in Fourier space. All
even phases are applied to the real and the imaginary part by real transforms: with A, B their transforms and phase χ,
the product's parts are A·cos χ + B·sin χ and B·cos χ − A·sin χ, so that half the frequencies suffice.

References
----------
Cowley & Moodie, Acta Cryst. 10, 609 (1957), doi 10.1107/S0365110X57002194; Kirkland, Advanced Computing in Electron
Microscopy (2010), ch. 6; curvature of the Ewald sphere: DeRosier, Ultramicroscopy 81, 83 (2000).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import C64, F32, Complexes, Floats, Reals
from cryoframe.numerics.ctf import amplitude_phase_rad, wavelength_A
from cryoframe.numerics.fourier import irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A, frequency_axes_1_A
from cryoframe.numerics.lens import Lens, damping, even_phase, odd_factor, phase_per_potential_A

#: Products of two band-limited functions alias above this share of the Nyquist frequency (Kirkland 2010, sec. 6.8).
_BAND_LIMIT = 2.0 / 3.0


def turn_phases(wave: Complexes, chi: Floats, factor: Floats | Complexes | float = 1.0) -> Complexes:
    """Multiply a wave's transform with factor·exp(−i·chi).

    Parameters
    ----------
    wave
        `(ny, nx)` complex.
    chi
        `(ny, nx//2+1)` even phase [rad] in the raw half layout.
    factor
        Of the same layout; the transform of a real function (real and even, or Hermitian).

    Returns
    -------
    `(ny, nx)` complex of the type of `wave`.
    """
    cosine, sine = np.cos(chi), np.sin(chi)
    real_ft, imaginary_ft = rfft2(wave.real), rfft2(wave.imag)
    turned: Complexes = np.empty_like(wave)
    turned.real = irfft2((real_ft * cosine + imaginary_ft * sine) * factor, wave.shape)
    turned.imag = irfft2((imaginary_ft * cosine - real_ft * sine) * factor, wave.shape)
    return turned


def fresnel(wave: Complexes, pixel_size_A: float, distance_A: float, *, voltage_kV: float) -> Complexes:
    """Wave after free space of `distance_A`, negative backwards; its energy is conserved."""
    k = frequencies_1_A(wave.shape, pixel_size_A, False)
    return turn_phases(wave, np.pi * wavelength_A(voltage_kV) * distance_A * k * k)


def slice_potential(volume: F32, pixel_size_A: float, n_slices: int) -> F32:
    """Projected potentials `(n_slices, ny, nx)` [1/Å] of a volume `(nz, ny, nx)` [1/Å²], z along the beam.

    `n_slices` divides nz.
    """
    nz, ny, nx = volume.shape
    if n_slices < 1 or nz % n_slices:
        raise InvalidInput(f"{n_slices} slices of {nz} planes were asked for", expected="a divisor of the planes")
    summed = volume.reshape(n_slices, nz // n_slices, ny, nx).sum(axis=1, dtype=np.float32)
    flat: F32 = summed * np.float32(pixel_size_A)
    return flat


def exit_wave(
    slices: Iterable[F32],
    pixel_size_A: float,
    slice_thickness_A: float,
    *,
    voltage_kV: float,
    amplitude_contrast: float = 0.0,
) -> C64:
    """Wave behind a specimen for a plane wave of amplitude 1, referred back to the middle of the specimen.

    Parameters
    ----------
    slices
        Projected potentials `(ny, nx)` [1/Å] in the order the beam meets them; each acts in its middle.
    pixel_size_A
        Of the slices. Only two thirds of Nyquist are kept, so sample by a third finer than the resolution wanted.
    slice_thickness_A
        Distance of two slices.
    voltage_kV
        Acceleration voltage.
    amplitude_contrast
        The potential is taken as P·exp(i·asin w), which absorbs.

    Returns
    -------
    `(ny, nx)` complex64, propagated back by half the thickness, so that a lens images it with the defocus of the
    specimen's middle.

    References
    ----------
    Kirkland, Advanced Computing in Electron Microscopy (2010), eq. 6.92, 6.93.
    """
    wave: C64 | None = None
    count = 0
    strength = 1j * phase_per_potential_A(voltage_kV) * np.exp(1j * amplitude_phase_rad(amplitude_contrast))
    kept: Reals = np.ones((1, 1))
    chi: Reals = np.zeros((1, 1))
    for potential in slices:
        if wave is None:
            wave = np.ones(potential.shape, dtype=np.complex64)
            k = frequencies_1_A(potential.shape, pixel_size_A, False)
            kept = np.where(k <= _BAND_LIMIT * 0.5 / pixel_size_A, 1.0, 0.0)
            chi = np.pi * wavelength_A(voltage_kV) * slice_thickness_A * k * k
        if potential.shape != wave.shape:
            raise InvalidInput(f"slices of {wave.shape} and {potential.shape} were given", expected="one shape")
        flat = irfft2(rfft2(potential) * kept, potential.shape)
        wave = turn_phases(wave * np.exp(strength * flat), chi, kept).astype(np.complex64)
        count += 1
    if wave is None:
        raise InvalidInput("no slice was given", expected="at least one")
    # The last slice was followed by a whole distance; its middle lies half of one before, the specimen's (count−1)/2.
    back = -(0.5 * (count - 1) + 1.0) * slice_thickness_A
    return fresnel(wave, pixel_size_A, back, voltage_kV=voltage_kV).astype(np.complex64)


def image_wave(wave: C64, pixel_size_A: float, lens: Lens) -> C64:
    """Wave in the image plane, `(ny, nx)`; defocus is that of the plane `wave` is given in.

    Coherence acts on the wave (quasi-coherent approximation): exact for what interferes with the unscattered beam. The
    phase plate turns all but zero frequency.
    """
    kx, ky = frequency_axes_1_A(wave.shape, pixel_size_A, centred_half=False)
    chi = even_phase(kx, ky, lens) - np.radians(lens.phase_shift_deg)
    chi[0, 0] = 0.0
    factor: Floats | Complexes = damping(kx, ky, lens)
    odd = odd_factor(kx, ky, lens)
    return turn_phases(wave, chi, factor if odd is None else factor * odd).astype(np.complex64)


def image_contrast(wave: C64, pixel_size_A: float, lens: Lens) -> F32:
    """|ψ|² − 1 in the image plane, `(ny, nx)` float32: what :func:`exposure.weak_phase_contrast` gives when thin."""
    image = image_wave(wave, pixel_size_A, lens)
    contrast: F32 = (image.real**2 + image.imag**2 - 1.0).astype(np.float32)
    return contrast
