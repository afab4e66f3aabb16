"""Microscopes as data, each number with its source or marked assumed; what they do to an image is in numerics.

Cameras are in ``cryoframe.numerics.camera_presets``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput, nearest
from cryoframe.numerics.ctf import Envelope
from cryoframe.numerics.lens import focal_spread_A

#: Energy of the plasmon of water and its width [eV], and the gap below which hardly any energy is lost.
_PLASMON_EV, _PLASMON_WIDTH_EV, _GAP_EV = 21.4, 14.0, 7.0
_HIGHEST_LOSS_EV, _LOSS_STEP_EV = 200.0, 0.05


@dataclass(frozen=True, slots=True)
class Microscope:
    """A transmission electron microscope for frozen specimens.

    Parameters
    ----------
    name
        Of the preset.
    voltage_kV, cs_mm, cc_mm
        Acceleration voltage, spherical and chromatic aberration of the objective lens, corrector included.
    energy_fwhm_eV
        Full width at half maximum of the energies of the source.
    voltage_instability_frac, current_instability_frac
        Standard deviations of high tension and of the objective lens current.
    source_angle_mrad
        Half angle of illumination, exp(−(θ/α)²).
    aperture_mrad
        Half angle of the objective aperture; 0 = none.
    slit_eV
        Width of the energy slit about zero loss; 0 = no filter.
    drift_A_s
        Speed of the stage once settled.
    sources
        Pairs of names of numbers and where these are from: what was read, or "assumed: …".
    """

    name: str
    voltage_kV: float
    cs_mm: float
    cc_mm: float
    energy_fwhm_eV: float
    voltage_instability_frac: float
    current_instability_frac: float
    source_angle_mrad: float
    aperture_mrad: float
    slit_eV: float
    drift_A_s: float
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def envelope(self) -> Envelope:
        """Partial coherence of the beam."""
        spread = focal_spread_A(
            self.cc_mm,
            self.voltage_kV,
            self.energy_fwhm_eV,
            voltage_instability_frac=self.voltage_instability_frac,
            current_instability_frac=self.current_instability_frac,
        )
        return Envelope(focal_spread_A=spread, source_angle_mrad=self.source_angle_mrad)


def passed_loss_frac(slit_eV: float) -> float:
    """Share of the electrons with energy loss that a slit centred on zero loss lets through; 1 for 0, no filter.

    Losses follow a Drude plasmon at 21.4 eV, 14 eV wide, above a gap of 7 eV (assumed; the peak in vitreous ice lies
    between 20 and 24 eV), each electron losing energy once.

    Parameters
    ----------
    slit_eV
        Width; losses up to half of it pass.

    References
    ----------
    Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope (2011), eq. 3.43 (Drude).
    """
    if slit_eV < 0.0:
        raise InvalidInput(
            f"an energy slit of {slit_eV} eV was asked for", expected="a width in eV, or 0 for no filter"
        )
    if slit_eV == 0.0:
        return 1.0
    loss = np.arange(_GAP_EV, _HIGHEST_LOSS_EV, _LOSS_STEP_EV)
    drude = loss * _PLASMON_WIDTH_EV / ((loss**2 - _PLASMON_EV**2) ** 2 + (loss * _PLASMON_WIDTH_EV) ** 2)
    return float(drude[loss <= 0.5 * slit_eV].sum() / drude.sum())


_PARAKEET = (
    "models krios and talos of Parakeet, src/parakeet/microscope.py (github rosalindfranklininstitute/parakeet): "
)
_COMMON = {
    "voltage_instability_frac": _PARAKEET + "0.8e-6 as 1/e half width, over √2",
    "current_instability_frac": _PARAKEET + "0.33e-6 as 1/e half width, over √2",
    "source_angle_mrad": "assumed: nearly parallel illumination by three condenser lenses",
    "aperture_mrad": "assumed: none inserted",
}
_DRIFT = "assumed: a stage that has settled moves 0.1 Å in an exposure of a second"


def _krios(
    name: str,
    *,
    energy_fwhm_eV: float,
    slit_eV: float,
    cs_mm: float = 2.7,
    cc_mm: float = 2.7,
    drift_A_s: float = 0.1,
    sources: Mapping[str, str],
) -> Microscope:
    stated = {
        "voltage_kV": "as every Krios",
        "cs_mm, cc_mm": _PARAKEET + "2.7 mm and 2.7 mm",
        "drift_A_s": _DRIFT,
    }
    return Microscope(
        name,
        300.0,
        cs_mm,
        cc_mm,
        energy_fwhm_eV,
        0.57e-6,
        0.23e-6,
        0.01,
        0.0,
        slit_eV,
        drift_A_s,
        tuple({**_COMMON, **stated, **sources}.items()),
    )


def _krios_g3() -> Microscope:
    return _krios(
        "krios_g3",
        energy_fwhm_eV=0.7,
        slit_eV=20.0,
        sources={
            "energy_fwhm_eV": "assumed: Schottky source, 0.7 eV",
            "slit_eV": "assumed: 20 eV, as commonly set on its post-column filter",
        },
    )


def _krios_g4() -> Microscope:
    return _krios(
        "krios_g4",
        energy_fwhm_eV=0.3,
        slit_eV=10.0,
        sources={
            "energy_fwhm_eV": "assumed: cold field emission, 0.3 eV, as known of the microscope of Nakane et al. 2020,"
            " doi 10.1038/s41586-020-2829-0",
            "slit_eV": "assumed: 10 eV",
        },
    )


def _krios_g5(name: str, cc_mm: float, chromatic: str) -> Microscope:
    return _krios(
        name,
        energy_fwhm_eV=0.1,
        slit_eV=10.0,
        cs_mm=0.01,
        cc_mm=cc_mm,
        drift_A_s=0.05,
        sources={
            "energy_fwhm_eV": "assumed: monochromator, 0.1 eV, as known of the microscope of Yip et al. 2020,"
            " doi 10.1038/s41586-020-2833-4",
            "cs_mm, cc_mm": "assumed: corrected to 10 µm; " + chromatic,
            "slit_eV": "assumed: 10 eV",
            "drift_A_s": "assumed: half of the generation before",
        },
    )


def _two_hundred(name: str, energy_fwhm_eV: float, source: str) -> Microscope:
    return Microscope(
        name,
        200.0,
        2.7,
        2.7,
        energy_fwhm_eV,
        0.57e-6,
        0.23e-6,
        0.02,
        14.0,
        0.0,
        0.2,
        tuple(
            {
                **_COMMON,
                "voltage_kV": _PARAKEET + "200 kV",
                "cs_mm, cc_mm": _PARAKEET + "2.7 mm and 2.7 mm",
                "energy_fwhm_eV": source,
                "source_angle_mrad": "assumed: two condenser lenses, twice that of a Krios",
                "aperture_mrad": "assumed: 100 µm at a focal length of 3.5 mm",
                "slit_eV": "assumed: no filter",
                "drift_A_s": "assumed: twice that of a Krios",
            }.items()
        ),
    )


def microscopes() -> dict[str, Microscope]:
    """Every preset by name."""
    presets = (
        _krios_g3(),
        _krios_g4(),
        _krios_g5("krios_g5", 2.7, "chromatic aberration as before"),
        _krios_g5("krios_g5_cc", 0.0, "chromatic aberration corrected to zero"),
        _two_hundred("glacios_200", 0.7, "assumed: Schottky source, 0.7 eV"),
        _two_hundred("talos_200", 0.89, _PARAKEET + "2.66e-6 of 200 keV as 1/e half width, times 2√ln 2"),
    )
    return {microscope.name: microscope for microscope in presets}


def microscope_named(name: str) -> Microscope:
    """Return the preset called `name`.

    Raises
    ------
    InvalidInput
        There is none; the nearest and all there are are named.
    """
    presets = microscopes()
    if name not in presets:
        raise InvalidInput(
            f"no microscope is called {name!r}{nearest(name, presets)}", expected=f"one of {', '.join(presets)}"
        )
    return presets[name]
