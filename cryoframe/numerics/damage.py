"""Radiation damage of a specimen: fading by frequency, temperature and site; weighting of frames is in filters.

The critical exposure is that of :func:`cryoframe.numerics.filters.critical_dose_e_A2`; damage here is what happens to
the specimen, dose weighting there is what is best done about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals
from cryoframe.numerics.filters import critical_dose_e_A2

# Spots of two-dimensional crystals fade 1.2 to 1.8 times slower at liquid helium than at liquid nitrogen temperature
# (Naydenova et al., Ultramicroscopy 237, 113512 (2022), doi 10.1016/j.ultramic.2022.113512). The middle of that range
# is taken at 30 K and below, unity at 80 K and above: that it holds for ice-embedded particles is assumed.
_COLD_K, _COLD_FACTOR, _NITROGEN_K = 30.0, 1.5, 80.0

#: Below this the mean over a frame is taken from its series, since (1 − e^−x)/x loses its digits.
_SMALL = 1e-6


def temperature_factor(temperature_K: float) -> float:
    """How many times more exposure the specimen bears than at 80 K: 1 from 80 K up, 1.5 from 30 K down, linear between.

    References
    ----------
    Naydenova et al., Ultramicroscopy 237, 113512 (2022), doi 10.1016/j.ultramic.2022.113512 (range 1.2 to 1.8).
    """
    if not 0.0 < temperature_K < 274.0:
        raise InvalidInput(
            f"a specimen at {temperature_K} K was asked for", expected="frozen: more than 0, below 274 K"
        )
    return float(np.interp(temperature_K, [_COLD_K, _NITROGEN_K], [_COLD_FACTOR, 1.0]))


def voltage_factor(voltage_kV: float) -> float:
    """How many times the exposure at 300 kV a specimen bears: the ratio of the critical exposures, 0.8 at 200 kV.

    Raises
    ------
    InvalidInput
        Other voltages than 300 or 200 kV, for which no critical exposure is known.
    """
    somewhere = np.ones(1)
    ratio: Reals = critical_dose_e_A2(somewhere, voltage_kV) / critical_dose_e_A2(somewhere, 300.0)
    return float(ratio[0])


def signal_left(
    frequency_1_A: Floats,
    start_e_A2: float,
    stop_e_A2: float,
    *,
    voltage_kV: float,
    temperature_K: float = 80.0,
    lifetime_e_A2: float = math.inf,
    b_rate_A4_e: float = 0.0,
) -> Reals:
    """Mean amplitude of the specimen's signal while it is exposed from one dose to another.

    Parameters
    ----------
    frequency_1_A
        Any shape.
    start_e_A2, stop_e_A2
        Accumulated exposure at the beginning and the end of a frame.
    voltage_kV
        300 or 200.
    temperature_K
        Of the specimen.
    lifetime_e_A2
        Of atoms that are lost beyond the common damage: exposure after which 1/e of them is left, at 300 kV and 80 K.
    b_rate_A4_e
        Growth of their B-factor [Å² per e/Å²], at 300 kV and 80 K.

    Returns
    -------
    Mean over the frame of exp(−N/(2·m·N_e(k)))·exp(−N/(m·v·lifetime))·exp(−b·N·k²/(4·m·v)), m of
    :func:`temperature_factor`, v of :func:`voltage_factor`; 1 at zero frequency where no atoms are lost. For a frame
    of no exposure it is the value at that dose.

    References
    ----------
    Grant & Grigorieff, eLife 4, e06980 (2015), doi 10.7554/eLife.06980. That single sites fade at 200 kV as much
    faster as the whole does is assumed.
    """
    if not 0.0 <= start_e_A2 <= stop_e_A2:
        raise InvalidInput(
            f"an exposure from {start_e_A2} to {stop_e_A2} e/Å² was given", expected="0 <= start <= stop"
        )
    bears = temperature_factor(temperature_K)
    rate = 0.5 / (bears * critical_dose_e_A2(frequency_1_A, voltage_kV))
    if b_rate_A4_e or lifetime_e_A2 < math.inf:
        sites = 1.0 / lifetime_e_A2 + 0.25 * b_rate_A4_e * frequency_1_A**2
        rate = rate + sites / (bears * voltage_factor(voltage_kV))
    span = rate * (stop_e_A2 - start_e_A2)
    safe = np.maximum(span, _SMALL)
    mean: Reals = np.exp(-rate * start_e_A2) * np.where(span < _SMALL, 1.0 - 0.5 * span, -np.expm1(-safe) / safe)
    return mean


@dataclass(frozen=True, slots=True)
class SiteDamage:
    """How the atoms of one kind of site fade.

    Parameters
    ----------
    residue
        Three-letter name.
    atoms
        Names of the atoms that are lost.
    lifetime_e_A2
        Exposure after which 1/e of them is left, 300 kV and 80 K.
    b_rate_A4_e
        Growth of their B-factor [Å² per e/Å²].
    """

    residue: str
    atoms: tuple[str, ...]
    lifetime_e_A2: float
    b_rate_A4_e: float


#: Which sites go first is measured: carboxyl groups of Glu and Asp, sulphur of Cys and Met: Hattne et al., Structure
#: 26, 759 (2018), doi 10.1016/j.str.2018.03.021; Bartesaghi et al., PNAS 111, 11709 (2014), doi
#: 10.1073/pnas.1402809111. The figures are assumed: carboxyl density halves within 10 to 15 e/Å².
SITES = (
    SiteDamage("GLU", ("CD", "OE1", "OE2"), 18.0, 2.0),
    SiteDamage("ASP", ("CG", "OD1", "OD2"), 18.0, 2.0),
    SiteDamage("CYS", ("SG",), 15.0, 2.0),
    SiteDamage("MET", ("SD", "CE"), 30.0, 1.5),
)


def site_damage(
    residues: npt.NDArray[np.str_],
    atoms: npt.NDArray[np.str_],
    dose_e_A2: float,
    *,
    temperature_K: float = 80.0,
    voltage_kV: float = 300.0,
    sites: tuple[SiteDamage, ...] = SITES,
) -> tuple[Reals, Reals]:
    """Occupancy factor and added B-factor of every atom after an exposure, on top of the global fading.

    Parameters
    ----------
    residues, atoms
        `(m,)` residue name and atom name of each atom, upper case.
    dose_e_A2
        Accumulated exposure.
    voltage_kV
        300 or 200.
    sites
        What fades and how fast.

    Returns
    -------
    `(m,)` factors, exp(−N/(m·v·lifetime)) as in :func:`signal_left`, 1 for atoms of no site; `(m,)` added B
    [Å²], 0 for those.
    """
    if not dose_e_A2 >= 0.0 or residues.shape != atoms.shape:
        raise InvalidInput(
            f"{residues.shape} residue names, {atoms.shape} atom names and {dose_e_A2} e/Å² were given",
            expected="as many residue as atom names, an exposure of 0 or more",
        )
    dose = dose_e_A2 / (temperature_factor(temperature_K) * voltage_factor(voltage_kV))
    occupancy, added_b = np.ones(residues.shape), np.zeros(residues.shape)
    for site in sites:
        hit = (residues == site.residue) & np.isin(atoms, site.atoms)
        occupancy[hit] = np.exp(-dose / site.lifetime_e_A2)
        added_b[hit] = site.b_rate_A4_e * dose
    return occupancy, added_b
