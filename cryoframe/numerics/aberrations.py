"""Higher-order aberrations and anisotropic magnification of a microscope; defocus, Cs and the CTF itself are in ctf.

Signs and coefficients are RELION's: antisymmetric phases multiply a projection's transform as exp(i·phase), symmetric
ones are added to γ, and frequencies are turned true by the magnification matrix before anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats

_IDENTITY = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Aberrations:
    """What a microscope adds to defocus, astigmatism and spherical aberration; all zero for an ideal one.

    Parameters
    ----------
    beam_tilt_mrad
        (x, y), as rlnBeamTiltX/Y. Axial coma: phase −2π·Cs·λ²·k²·(t·k).
    trefoil_rad_A3
        (a, b): phase a·k³·cos 3θ + b·k³·sin 3θ.
    tetrafoil_rad_A4
        (a, b): γ gains a·k⁴·cos 4θ + b·k⁴·sin 4θ.
    odd_zernike_rad, even_zernike_rad
        Coefficients as rlnOddZernike, rlnEvenZernike: orders n = 1, 3, … or 0, 2, …, in each m = −n, −n+2, …, n,
        of frequencies in 1/Å; added to the above.
    magnification
        2×2 rows, as rlnMagMat00 … 11; turns measured frequencies (kx, ky) into true ones.

    References
    ----------
    Zivanov, Nakane & Scheres, IUCrJ 7, 253 (2020), doi 10.1107/S2052252520000081.
    """

    beam_tilt_mrad: tuple[float, float] = (0.0, 0.0)
    trefoil_rad_A3: tuple[float, float] = (0.0, 0.0)
    tetrafoil_rad_A4: tuple[float, float] = (0.0, 0.0)
    odd_zernike_rad: tuple[float, ...] = ()
    even_zernike_rad: tuple[float, ...] = ()
    magnification: tuple[tuple[float, float], tuple[float, float]] = _IDENTITY

    @property
    def changes_gamma(self) -> bool:
        """True where a symmetric aberration is present."""
        return any(self.tetrafoil_rad_A4) or any(self.even_zernike_rad)


def true_frequencies(kx: Floats, ky: Floats, aberrations: Aberrations | None) -> tuple[Floats, Floats]:
    """(kx, ky) [1/Å] after the 2×2 magnification matrix."""
    if aberrations is None or aberrations.magnification == _IDENTITY:
        return kx, ky
    (xx, xy), (yx, yy) = aberrations.magnification
    return xx * kx + xy * ky, yx * kx + yy * ky


def zernike(n: int, m: int, x: Floats, y: Floats) -> Floats:
    """Zernike polynomial R_n^|m|(ρ)·cos mθ for m ≥ 0, R_n^|m|(ρ)·sin |m|θ for m < 0, not normalised, ρ not limited.

    References
    ----------
    Born & Wolf, Principles of Optics, 7th ed. (1999), sec. 9.2.1.
    """
    if n < 0 or abs(m) > n or (n - m) % 2:
        raise InvalidInput(f"Zernike polynomial n={n}, m={m} was asked for", expected="|m| <= n, n − m even")
    squared, order = x * x + y * y, abs(m)
    # ρ^m·cos mθ and ρ^m·sin mθ are polynomials of x and y; no angle is needed, so zero frequency is nothing special.
    cosine, sine = 1.0 + 0.0 * squared, 0.0 * squared
    for _ in range(order):
        cosine, sine = cosine * x - sine * y, sine * x + cosine * y
    radial: Floats = 0.0 * squared
    for s in range((n - order) // 2 + 1):
        divisor = factorial(s) * factorial((n + order) // 2 - s) * factorial((n - order) // 2 - s)
        radial = radial + (-1) ** s * factorial(n - s) / divisor * squared ** ((n - order) // 2 - s)
    return radial * (cosine if m >= 0 else sine)


def _zernike_sum(coefficients: Sequence[float], first_order: int, x: Floats, y: Floats) -> Floats:
    total: Floats = 0.0 * (x + y)
    n, m = first_order, -first_order
    for coefficient in coefficients:
        if coefficient != 0.0:
            total = total + coefficient * zernike(n, m, x, y)
        n, m = (n, m + 2) if m < n else (n + 2, -(n + 2))
    return total


def antisymmetric_phase(x: Floats, y: Floats, aberrations: Aberrations, *, wavelength_A: float, cs_mm: float) -> Floats:
    """Phase [rad] of axial coma, trefoil and odd Zernike terms at true frequencies `x`, `y` [1/Å].

    References
    ----------
    Coma: Glaeser et al., J. Struct. Biol. 174, 1 (2011), doi 10.1016/j.jsb.2010.12.005; sign by RELION.
    """
    tilt_x, tilt_y = aberrations.beam_tilt_mrad
    # Cs [mm] is 10⁷ Å, the tilt [mrad] 10⁻³.
    coma = -2.0 * np.pi * cs_mm * 1e4 * wavelength_A**2
    cosine, sine = aberrations.trefoil_rad_A3
    phase: Floats = coma * (x * x + y * y) * (tilt_x * x + tilt_y * y)
    phase = phase + cosine * (x * x * x - 3.0 * x * y * y) + sine * (3.0 * x * x * y - y * y * y)
    return phase + _zernike_sum(aberrations.odd_zernike_rad, 1, x, y)


def symmetric_phase(x: Floats, y: Floats, aberrations: Aberrations) -> Floats:
    """What tetrafoil and even Zernike terms add to γ [rad] at true frequencies `x`, `y` [1/Å]."""
    cosine, sine = aberrations.tetrafoil_rad_A4
    x2, y2 = x * x, y * y
    phase: Floats = cosine * (x2 * x2 - 6.0 * x2 * y2 + y2 * y2) + sine * 4.0 * x * y * (x2 - y2)
    return phase + _zernike_sum(aberrations.even_zernike_rad, 0, x, y)
