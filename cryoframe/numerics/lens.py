"""The objective lens between exit wave and image: its phases, damping and aperture in the raw half layout; no specimen.

A scattered wave is multiplied with E(k)·exp(−iγ(k) + iφ)·exp(i·odd(k)): γ as in :mod:`cryoframe.numerics.ctf`, phase
plate φ, antisymmetric aberrations, damping E of partial coherence, B-factor and aperture. z runs along the beam towards
the lens, so that what lies at z has the defocus of the lens plus z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.aberrations import Aberrations, symmetric_phase, true_frequencies
from cryoframe.numerics.backend import Complexes, Floats, Reals
from cryoframe.numerics.ctf import Envelope, aberration_factor, coherence, defocus_along, phase, wavelength_A

_REST_ENERGY_KEV = 510.99895


@dataclass(frozen=True, slots=True)
class Lens:
    """State of the microscope for one exposure.

    Parameters
    ----------
    voltage_kV, cs_mm, amplitude_contrast
        Acceleration voltage, spherical aberration, amplitude contrast of the specimen (a fraction).
    defocus_u_A, defocus_v_A, defocus_angle_deg
        Of the middle of the ice in the centre of the field, positive under focus.
    phase_shift_deg
        Of a phase plate.
    envelope
        Partial coherence.
    aberrations
        Higher orders and magnification.
    b_factor_A2
        exp(−B·k²/4) of anything else.
    aperture_mrad
        Half angle of the objective aperture; beyond it nothing passes.
    """

    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.07
    defocus_u_A: float = 10000.0
    defocus_v_A: float = 10000.0
    defocus_angle_deg: float = 0.0
    phase_shift_deg: float = 0.0
    envelope: Envelope | None = None
    aberrations: Aberrations | None = None
    b_factor_A2: float = 0.0
    aperture_mrad: float | None = None

    def at(self, z_A: float) -> Lens:
        """The same lens as seen from depth `z_A`."""
        return replace(self, defocus_u_A=self.defocus_u_A + z_A, defocus_v_A=self.defocus_v_A + z_A)


def phase_per_potential_A(voltage_kV: float) -> float:
    """Phase shift [rad] per projected potential [1/Å]: γ_rel·λ, with potentials as Σ f/volume.

    The interaction constant 2π·m·e·λ/h², 0.6526 rad/(kV·Å) at 300 kV, in the units of `atoms.potential`.

    References
    ----------
    Kirkland, Advanced Computing in Electron Microscopy (2010), eq. 5.6.
    """
    return wavelength_A(voltage_kV) * (1.0 + voltage_kV / _REST_ENERGY_KEV)


def focal_spread_A(
    cc_mm: float,
    voltage_kV: float,
    energy_fwhm_eV: float,
    *,
    voltage_instability_frac: float = 0.0,
    current_instability_frac: float = 0.0,
) -> float:
    """Standard deviation of defocus [Å] for `Envelope`, from chromatic aberration and instabilities.

    Cc·r·√((σ_E/E)² + (ΔV/V)² + (2ΔI/I)²), with r = (1 + E/mc²)/(1 + E/2mc²).

    Parameters
    ----------
    cc_mm, voltage_kV
        Chromatic aberration and acceleration voltage.
    energy_fwhm_eV
        Full width at half maximum of the energies of the source; σ_E is 0.4247 of it.
    voltage_instability_frac, current_instability_frac
        Standard deviations of high tension and of the lens current; the latter is not scaled with r.

    References
    ----------
    Reimer & Kohl, Transmission Electron Microscopy (2008), ch. 2 (chromatic aberration) and 6 (temporal coherence).
    """
    if cc_mm < 0.0 or min(energy_fwhm_eV, voltage_instability_frac, current_instability_frac) < 0.0:
        raise InvalidInput(f"Cc of {cc_mm} mm and a width of {energy_fwhm_eV} eV were given", expected="0 or more")
    relativistic = (1.0 + voltage_kV / _REST_ENERGY_KEV) / (1.0 + 0.5 * voltage_kV / _REST_ENERGY_KEV)
    sigma_frac = energy_fwhm_eV / (2.0 * np.sqrt(2.0 * np.log(2.0))) / (voltage_kV * 1e3)
    electrons = relativistic * np.hypot(sigma_frac, voltage_instability_frac)
    return float(cc_mm * 1e7 * np.hypot(electrons, 2.0 * current_instability_frac))


def even_phase(kx: Floats, ky: Floats, lens: Lens) -> Reals:
    """γ(k) of all symmetric aberrations [rad] at measured frequencies [1/Å]."""
    x, y = true_frequencies(kx, ky, lens.aberrations)
    gamma = phase(
        x,
        y,
        voltage_kV=lens.voltage_kV,
        cs_mm=lens.cs_mm,
        defocus_u_A=lens.defocus_u_A,
        defocus_v_A=lens.defocus_v_A,
        defocus_angle_deg=lens.defocus_angle_deg,
    )
    if lens.aberrations is not None and lens.aberrations.changes_gamma:
        gamma = gamma + symmetric_phase(x, y, lens.aberrations)
    return np.asarray(gamma, dtype=np.float64)


def damping(kx: Floats, ky: Floats, lens: Lens) -> Reals:
    """Amplitude that coherence, B-factor and aperture leave, 1 at zero frequency."""
    x, y = true_frequencies(kx, ky, lens.aberrations)
    k2 = x * x + y * y
    left = np.exp(-0.25 * lens.b_factor_A2 * k2)
    if lens.envelope is not None:
        defocus = defocus_along(
            x, y, defocus_u_A=lens.defocus_u_A, defocus_v_A=lens.defocus_v_A, defocus_angle_deg=lens.defocus_angle_deg
        )
        left = left * coherence(
            x, y, envelope=lens.envelope, voltage_kV=lens.voltage_kV, cs_mm=lens.cs_mm, defocus_A=defocus
        )
    if lens.aperture_mrad is not None:
        left = np.where(k2 <= aperture_1_A(lens) ** 2, left, 0.0)
    return np.asarray(left, dtype=np.float64)


def aperture_1_A(lens: Lens) -> float:
    """Frequency at the edge of the objective aperture [1/Å], α/λ; infinite without one."""
    if lens.aperture_mrad is None:
        return float("inf")
    if not lens.aperture_mrad > 0:
        raise InvalidInput(f"an aperture of {lens.aperture_mrad} mrad was given", expected="more than 0 mrad, or none")
    return lens.aperture_mrad * 1e-3 / wavelength_A(lens.voltage_kV)


def odd_factor(kx: Floats, ky: Floats, lens: Lens) -> Complexes | None:
    """exp(i·odd phase) of coma, trefoil and odd Zernike terms; None where there are none."""
    aberrations = lens.aberrations
    if aberrations is None or not (
        any(aberrations.beam_tilt_mrad) or any(aberrations.trefoil_rad_A3) or any(aberrations.odd_zernike_rad)
    ):
        return None
    return aberration_factor(kx, ky, voltage_kV=lens.voltage_kV, cs_mm=lens.cs_mm, aberrations=aberrations)
