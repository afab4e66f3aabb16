"""Electron wavelength, phase aberration, contrast transfer function and its envelopes; fitting lives in plugins.

Signs, as RELION: defocus is positive under focus; as stated in CONVENTIONS.md C14,
γ(k) = π λ k² (−Δf) + (π/2) C_s λ³ k⁴ is the aberration alone and CTF = −sin(γ − asin w − phase shift), which is +w at
zero frequency without a phase plate. Δf = ½(U + V) + ½(U − V) cos 2(θ − angle), θ from the x axis towards the y axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.aberrations import Aberrations as Aberrations
from cryoframe.numerics.aberrations import antisymmetric_phase, symmetric_phase, true_frequencies
from cryoframe.numerics.backend import C64, F32, Complexes, Floats, Reals, namespace, native

# CODATA 2018, SI units (doi 10.1103/RevModPhys.93.025010).
_PLANCK_J_S = 6.62607015e-34
_ELECTRON_MASS_KG = 9.1093837015e-31
_ELEMENTARY_CHARGE_C = 1.602176634e-19
_LIGHT_SPEED_M_S = 299792458.0


@dataclass(frozen=True, slots=True)
class Envelope:
    """Partial coherence of the beam.

    Parameters
    ----------
    focal_spread_A
        Standard deviation of defocus, Cc·√((ΔE/E)² + (ΔV/V)² + (2ΔI/I)²) [Å]; temporal coherence.
    source_angle_mrad
        Half angle of the Gaussian source exp(−(θ/α)²) [mrad]; spatial coherence.

    References
    ----------
    Wade & Frank, Optik 49, 81 (1977).
    """

    focal_spread_A: float = 0.0
    source_angle_mrad: float = 0.0


def wavelength_A(voltage_kV: float) -> float:
    """Relativistic electron wavelength [Å]: h/√(2·m·e·V·(1 + e·V/2mc²)).

    References
    ----------
    Reimer & Kohl, Transmission Electron Microscopy (2008), ch. 2; 0.0196875 Å at 300 kV.
    """
    if not voltage_kV > 0:
        raise InvalidInput(f"an acceleration voltage of {voltage_kV} kV was given", expected="more than 0 kV")
    energy = _ELEMENTARY_CHARGE_C * voltage_kV * 1e3
    rest = _ELECTRON_MASS_KG * _LIGHT_SPEED_M_S**2
    momentum = np.sqrt(2.0 * _ELECTRON_MASS_KG * energy * (1.0 + energy / (2.0 * rest)))
    return float(_PLANCK_J_S / momentum * 1e10)


def defocus_along(
    kx: Floats, ky: Floats, *, defocus_u_A: npt.ArrayLike, defocus_v_A: npt.ArrayLike, defocus_angle_deg: npt.ArrayLike
) -> Floats:
    """Defocus [Å] in the direction of (kx, ky), positive under focus: ½(U+V) + ½(U−V)·cos 2(θ−θ₀)."""
    xp = namespace(kx, ky)
    u, v, angle = (xp.asarray(a, dtype=xp.float64) for a in (defocus_u_A, defocus_v_A, defocus_angle_deg))
    twice = angle * (np.pi / 90.0)
    x2, y2 = kx * kx, ky * ky
    # cos 2(θ−θ₀) without θ: cos 2θ = (x²−y²)/k², sin 2θ = 2xy/k². At k = 0 there is no direction and the mean is given.
    k2 = xp.where(x2 + y2 > 0.0, x2 + y2, 1.0)
    cosine = (xp.cos(twice) * (x2 - y2) + xp.sin(twice) * 2.0 * kx * ky) / k2
    along: Floats = 0.5 * (u + v) + 0.5 * (u - v) * cosine
    return along


def phase(
    kx: Floats,
    ky: Floats,
    *,
    voltage_kV: float,
    cs_mm: float,
    defocus_u_A: npt.ArrayLike,
    defocus_v_A: npt.ArrayLike,
    defocus_angle_deg: npt.ArrayLike = 0.0,
) -> Floats:
    """Phase aberration γ of defocus, astigmatism and Cs [rad], negative at low frequency under focus.

    Parameters
    ----------
    kx, ky
        Frequencies [1/Å], broadcast against each other and against the parameters.
    voltage_kV, cs_mm
        Acceleration voltage and spherical aberration.
    defocus_u_A, defocus_v_A, defocus_angle_deg
        Principal defoci, positive under focus; angle of `u` from the x towards the y axis.

    References
    ----------
    Rohou & Grigorieff, J. Struct. Biol. 192, 216 (2015), doi 10.1016/j.jsb.2015.08.008 (with the opposite sign of γ).
    """
    wavelength = wavelength_A(voltage_kV)
    k2 = kx * kx + ky * ky
    defocus = defocus_along(
        kx, ky, defocus_u_A=defocus_u_A, defocus_v_A=defocus_v_A, defocus_angle_deg=defocus_angle_deg
    )
    gamma: Floats = -np.pi * wavelength * defocus * k2 + 0.5 * np.pi * cs_mm * 1e7 * wavelength**3 * k2 * k2
    return gamma


def amplitude_phase_rad(amplitude_contrast: float) -> float:
    """Phase asin w = atan(w / √(1 − w²)) that amplitude contrast w takes off γ [rad]; π/2 where w is 1."""
    if not 0.0 <= amplitude_contrast <= 1.0:
        raise InvalidInput(f"an amplitude contrast of {amplitude_contrast} was given", expected="a fraction, 0 to 1")
    return float(np.arcsin(amplitude_contrast))


def odd_phase(kx: Floats, ky: Floats, *, voltage_kV: float, cs_mm: float, aberrations: Aberrations) -> Floats:
    """Phase [rad] of the antisymmetric aberrations (axial coma, trefoil, odd Zernike) at measured frequencies."""
    x, y = true_frequencies(kx, ky, aberrations)
    return antisymmetric_phase(x, y, aberrations, wavelength_A=wavelength_A(voltage_kV), cs_mm=cs_mm)


def coherence(
    kx: Floats, ky: Floats, *, envelope: Envelope, voltage_kV: float, cs_mm: float, defocus_A: npt.ArrayLike
) -> Floats:
    """Product of the temporal and the spatial coherence envelope, 1 at zero frequency.

    Temporal: exp(−½·(π·λ·δ·k²)²). Spatial: exp(−(π·α/λ)²·(Cs·λ³·k³ − Δf·λ·k)²).

    References
    ----------
    Wade & Frank, Optik 49, 81 (1977); Frank, Optik 38, 519 (1973).
    """
    xp = namespace(kx, ky)
    wavelength = wavelength_A(voltage_kV)
    k2 = kx * kx + ky * ky
    k = xp.sqrt(k2)
    temporal = 0.5 * (np.pi * wavelength * envelope.focal_spread_A * k2) ** 2
    slope = cs_mm * 1e7 * wavelength**3 * k2 * k - xp.asarray(defocus_A) * wavelength * k
    spatial = (np.pi * envelope.source_angle_mrad * 1e-3 / wavelength * slope) ** 2
    product: Floats = xp.exp(-temporal - spatial)
    return product


def ctf(
    kx: Floats,
    ky: Floats,
    *,
    voltage_kV: float,
    cs_mm: float,
    amplitude_contrast: float,
    defocus_u_A: npt.ArrayLike,
    defocus_v_A: npt.ArrayLike,
    defocus_angle_deg: npt.ArrayLike = 0.0,
    phase_shift_deg: npt.ArrayLike = 0.0,
    b_factor_A2: npt.ArrayLike = 0.0,
    envelope: Envelope | None = None,
    aberrations: Aberrations | None = None,
) -> Floats:
    """Contrast transfer function at any frequencies; the reference all fast paths are tested against.

    Parameters
    ----------
    kx, ky
        Frequencies [1/Å], broadcast against each other and against the parameters.
    voltage_kV, cs_mm, amplitude_contrast
        Acceleration voltage, spherical aberration, amplitude contrast as a fraction.
    defocus_u_A, defocus_v_A, defocus_angle_deg
        As in :func:`phase`.
    phase_shift_deg
        Of a phase plate.
    b_factor_A2
        Envelope exp(−B·k²/4).
    envelope
        Partial coherence, none where omitted.
    aberrations
        Symmetric ones and magnification act here; the antisymmetric ones are :func:`aberration_factor`.

    Returns
    -------
    Real array, positive at low frequency under focus.
    """
    xp = namespace(kx, ky)
    x, y = true_frequencies(kx, ky, aberrations)
    where = {"defocus_u_A": defocus_u_A, "defocus_v_A": defocus_v_A, "defocus_angle_deg": defocus_angle_deg}
    gamma = phase(x, y, voltage_kV=voltage_kV, cs_mm=cs_mm, **where)
    if aberrations is not None and aberrations.changes_gamma:
        gamma = gamma + symmetric_phase(x, y, aberrations)
    offset = amplitude_phase_rad(amplitude_contrast) + xp.asarray(phase_shift_deg, dtype=xp.float64) * (np.pi / 180.0)
    transfer: Floats = -xp.sin(gamma - offset)
    transfer = transfer * xp.exp(-0.25 * xp.asarray(b_factor_A2, dtype=xp.float64) * (x * x + y * y))
    if envelope is not None:
        defocus = defocus_along(x, y, **where)
        transfer = transfer * coherence(x, y, envelope=envelope, voltage_kV=voltage_kV, cs_mm=cs_mm, defocus_A=defocus)
    return transfer


def aberration_factor(
    kx: Floats, ky: Floats, *, voltage_kV: float, cs_mm: float, aberrations: Aberrations
) -> Complexes:
    """Factor exp(i·odd phase) the microscope puts on a projection's transform besides the CTF; unit modulus."""
    xp = namespace(kx, ky)
    factor: Complexes = xp.exp(1j * odd_phase(kx, ky, voltage_kV=voltage_kV, cs_mm=cs_mm, aberrations=aberrations))
    return factor


def ctf_1d(
    k: Floats,
    *,
    voltage_kV: float,
    cs_mm: float,
    amplitude_contrast: float,
    defocus_A: npt.ArrayLike,
    phase_shift_deg: npt.ArrayLike = 0.0,
    b_factor_A2: npt.ArrayLike = 0.0,
    envelope: Envelope | None = None,
) -> Floats:
    """Rotationally symmetric CTF along `k` [1/Å]; parameters as in :func:`ctf`."""
    xp = namespace(k)
    return ctf(
        k,
        xp.zeros_like(k),
        voltage_kV=voltage_kV,
        cs_mm=cs_mm,
        amplitude_contrast=amplitude_contrast,
        defocus_u_A=defocus_A,
        defocus_v_A=defocus_A,
        phase_shift_deg=phase_shift_deg,
        b_factor_A2=b_factor_A2,
        envelope=envelope,
    )


def half_frequencies(n: int, pixel_size_A: float, *, xp: ModuleType = np) -> tuple[Reals, Reals]:
    """Frequencies kx `(n//2+1,)` and ky `(n, 1)` [1/Å] of the centred half layout."""
    if n < 1 or not pixel_size_A > 0:
        raise InvalidInput(f"a box of {n} px of {pixel_size_A} Å was given", expected="positive sizes")
    kx: Reals = xp.arange(n // 2 + 1, dtype=xp.float64) / (n * pixel_size_A)
    ky: Reals = ((xp.arange(n, dtype=xp.float64) - n // 2) / (n * pixel_size_A))[:, None]
    return kx, ky


def ctf_half(
    n: int,
    pixel_size_A: float,
    *,
    voltage_kV: float,
    cs_mm: float,
    amplitude_contrast: float,
    defocus_u_A: npt.ArrayLike,
    defocus_v_A: npt.ArrayLike,
    defocus_angle_deg: npt.ArrayLike = 0.0,
    phase_shift_deg: npt.ArrayLike = 0.0,
    b_factor_A2: npt.ArrayLike = 0.0,
    envelope: Envelope | None = None,
    aberrations: Aberrations | None = None,
    fast: bool = True,
) -> F32:
    """CTFs of many particles of one optics group in the centred half layout.

    Parameters
    ----------
    n, pixel_size_A
        Box size [px] and pixel size.
    defocus_u_A, defocus_v_A, defocus_angle_deg, phase_shift_deg, b_factor_A2
        `(m,)` or numbers, broadcast.
    fast
        Use the compiled path where there is one; it covers everything but partial coherence.

    Returns
    -------
    `(m, n, n//2+1)` float32, zero frequency at ``[n//2, 0]``; m is 1 for numbers.
    """
    xp = namespace(defocus_u_A, defocus_v_A, defocus_angle_deg, phase_shift_deg, b_factor_A2)
    columns = xp.broadcast_arrays(
        *(
            xp.atleast_1d(xp.asarray(a, dtype=xp.float64))
            for a in (defocus_u_A, defocus_v_A, defocus_angle_deg, phase_shift_deg, b_factor_A2)
        )
    )
    kx, ky = half_frequencies(n, pixel_size_A, xp=xp)
    module = native(xp, "ctf") if fast and envelope is None else None
    if module is not None:
        optics = (wavelength_A(voltage_kV), cs_mm * 1e7, amplitude_phase_rad(amplitude_contrast))
        x, y = true_frequencies(kx, ky, aberrations)
        extra = symmetric_phase(x, y, aberrations) if aberrations is not None else xp.zeros((1, 1))
        compiled: F32 = module.ctf_half(x, y, extra, columns, optics)
        return compiled
    u, v, angle, shift, b_factor = (column[:, None, None] for column in columns)
    return ctf(
        kx,
        ky,
        voltage_kV=voltage_kV,
        cs_mm=cs_mm,
        amplitude_contrast=amplitude_contrast,
        defocus_u_A=u,
        defocus_v_A=v,
        defocus_angle_deg=angle,
        phase_shift_deg=shift,
        b_factor_A2=b_factor,
        envelope=envelope,
        aberrations=aberrations,
    ).astype(xp.float32)


def ctf_of_groups(
    n: int,
    pixel_size_A: float,
    *,
    groups: npt.NDArray[np.generic],
    optics: Mapping[str, tuple[float, float, float]],
    columns: Mapping[str, Reals],
) -> F32:
    """CTFs of particles of several optics groups in the centred half layout.

    Parameters
    ----------
    n, pixel_size_A
        Box size [px] and pixel size.
    groups
        `(m,)` name of each particle's optics group.
    optics
        Voltage [kV], Cs [mm] and amplitude contrast of each group.
    columns
        ``defocus_u_A, defocus_v_A, defocus_angle_deg, phase_shift_deg``, `(m,)` each.

    Returns
    -------
    `(m, n, n//2+1)` float32.
    """
    names = groups.astype(str)
    values = np.empty((len(names), n, n // 2 + 1), dtype=np.float32)
    for group in np.unique(names):
        rows = np.flatnonzero(names == group)
        voltage_kV, cs_mm, amplitude_contrast = optics[str(group)]
        values[rows] = ctf_half(
            n,
            pixel_size_A,
            voltage_kV=voltage_kV,
            cs_mm=cs_mm,
            amplitude_contrast=amplitude_contrast,
            defocus_u_A=columns["defocus_u_A"][rows],
            defocus_v_A=columns["defocus_v_A"][rows],
            defocus_angle_deg=columns["defocus_angle_deg"][rows],
            phase_shift_deg=columns["phase_shift_deg"][rows],
        )
    return values


def aberration_half(
    n: int, pixel_size_A: float, *, voltage_kV: float, cs_mm: float, aberrations: Aberrations, xp: ModuleType = np
) -> C64:
    """:func:`aberration_factor` in the centred half layout, `(n, n//2+1)` complex64."""
    kx, ky = half_frequencies(n, pixel_size_A, xp=xp)
    factor: C64 = aberration_factor(kx, ky, voltage_kV=voltage_kV, cs_mm=cs_mm, aberrations=aberrations).astype(
        xp.complex64
    )
    return factor
