"""Everything that is told about a micrograph's CTF from its spectrum: fit, confidence, thickness, tilt, verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cryoframe.numerics.backend import F32, Floats, Reals
from cryoframe.numerics.ctf_confidence import (
    Evidence,
    carbon_equivalent_A,
    crystal_frac,
    judge,
    posterior_frac,
    searched_means,
)
from cryoframe.numerics.ctf_fit import FitRange, FittedPoint, Lens, Samples, flatten
from cryoframe.numerics.ctf_local import DefocusPlane, fit_plane, part_samples, plane_scores, spread_A
from cryoframe.numerics.ctf_rings import SpectrumFit, describe
from cryoframe.numerics.ice_thickness import Thickness, thickness_from_rings

#: A tilt is told where its standard error is no larger: it is to be right to 3°.
_TILT_ERROR_DEG = 1.5
_LEAST_PARTS = 4
#: The rings of a tilted specimen blur; from this confidence on its parts are asked.
_HALF_SURE = 0.5
#: From this tilt on the rings of the whole are too blurred for the best mean defocus; the plane's is taken.
_BLURRED_DEG = 5.0

Fit = Callable[[Floats, float, Lens, FitRange], FittedPoint]


@dataclass(frozen=True, slots=True)
class Demands:
    """What a micrograph must fulfil to be accepted.

    Parameters
    ----------
    confidence_frac
        Least probability that the defocus is right.
    crystal_frac
        Largest share of crystalline spots, see :func:`ctf_confidence.crystal_frac`: simulated vitreous ice stays below
        0.0007, real below 0.0001.
    carbon_A
        Largest thickness of carbon that scatters as strongly: simulated fields of particles stay below 9 Å, real ones
        of apoferritin below 4 Å; 0 = any.
    """

    confidence_frac: float = 0.9
    crystal_frac: float = 0.002
    carbon_A: float = 25.0


@dataclass(frozen=True, slots=True)
class Recording:
    """The spectrum of a micrograph and what it was recorded with.

    Parameters
    ----------
    power
        `(n, n//2+1)` mean periodogram, centred half layout.
    pixel_size_A, voltage_kV
        Of the micrograph.
    dose_e_A2
        0 = unknown.
    parts, centres_A
        Spectra of parts and their places (x, y) against the middle of the field; may be empty.
    extent_A
        (x, y) size of the field that the tiles weigh fully.
    tiled
        Whether `power` is a mean of Hann-tapered periodograms, so that its noise is what theory says.
    dose_weighted
        Whether the image was filtered, so that its counting noise does not show.
    """

    power: Floats
    pixel_size_A: float
    voltage_kV: float
    dose_e_A2: float
    parts: F32
    centres_A: Reals
    extent_A: tuple[float, float] = (0.0, 0.0)
    tiled: bool = True
    dose_weighted: bool = False

    @property
    def counted(self) -> bool:
        """Whether counting noise can be told from signal."""
        return self.tiled and not self.dose_weighted


@dataclass(frozen=True)
class Estimate:
    """What was found; None where it was not looked for or cannot be told."""

    fit: SpectrumFit
    evidence: Evidence
    verdict: str
    thickness: Thickness | None
    plane: DefocusPlane | None
    crystal_frac: float | None
    carbon_A: float | None


def estimate(recording: Recording, lens: Lens, limits: FitRange, demands: Demands, *, fit: Fit) -> Estimate:
    """Fit a spectrum with `fit` and judge what was found.

    Raises
    ------
    InvalidInput
        See :func:`cryoframe.numerics.ctf_fit.flatten`.
    """
    power, pixel_size_A = recording.power, recording.pixel_size_A
    fitted = fit(power, pixel_size_A, lens, limits)
    evidence = judge(fitted.samples, lens, fitted.point, limits)
    plane = None
    if evidence.confidence_frac >= min(demands.confidence_frac, _HALF_SURE) and len(recording.parts) >= _LEAST_PARTS:
        parts = part_samples(recording.parts, fitted.samples)
        plane = fit_plane(parts, recording.centres_A, lens, fitted.point)
        if plane.error_deg <= _TILT_ERROR_DEG and abs(plane.tilt_deg) >= _BLURRED_DEG:
            fitted = replace(fitted, point=np.array([plane.mean_A, *fitted.point[1:]]))
            means = searched_means(limits, plane.mean_A)
            scores = plane_scores(parts, recording.centres_A, lens, fitted.point, plane=plane, means_A=means)
            evidence = replace(evidence, posterior_frac=posterior_frac(means, scores, plane.mean_A))
    crystals = crystal_frac(power, pixel_size_A) if recording.tiled else None
    carbon = None
    if recording.counted:
        carbon = carbon_equivalent_A(
            power, pixel_size_A, dose_e_A2=recording.dose_e_A2, voltage_kV=recording.voltage_kV
        )
    objections = _objections(evidence, demands, crystals=crystals, carbon_A=carbon)
    every = flatten(power, pixel_size_A, low_A=limits.low_A, high_A=0.0)
    thickness = None if objections else _thickness(recording, every, fitted, plane)
    thickness_A = 0.0 if thickness is None else thickness.thickness_A
    return Estimate(
        fit=describe(every, fitted, n=power.shape[0], high_A=limits.high_A, thickness_A=thickness_A),
        evidence=evidence,
        verdict="; ".join(objections),
        thickness=thickness,
        plane=None if objections or plane is None or plane.error_deg > _TILT_ERROR_DEG else plane,
        crystal_frac=crystals,
        carbon_A=carbon,
    )


def _thickness(
    recording: Recording, every: Samples, fitted: FittedPoint, plane: DefocusPlane | None
) -> Thickness | None:
    """Thickness from the rings; an unknown tilt would be mistaken for it."""
    if not recording.counted or plane is None:
        return None
    spread = spread_A(plane, recording.extent_A)
    found = thickness_from_rings(
        every, recording.power, fitted.lens, fitted.point, pixel_size_A=recording.pixel_size_A, spread_A=spread
    )
    return found if found is not None and found.is_known and found.thickness_A >= max(spread) else None


def _objections(evidence: Evidence, demands: Demands, *, crystals: float | None, carbon_A: float | None) -> list[str]:
    """What speaks against the micrograph, the most telling first."""
    found = []
    if evidence.at_edge:
        found.append("defocus at the end of the searched range")
    elif evidence.confidence_frac < demands.confidence_frac:
        no_rings = evidence.posterior_frac < 0.5 or evidence.cross_significance < 1.5
        found.append("no rings" if no_rings else "another defocus is nearly as good")
    if crystals is not None and crystals > demands.crystal_frac:
        found.append("crystalline ice")
    if carbon_A is not None and 0.0 < demands.carbon_A < carbon_A:
        found.append("carbon film")
    return found


def nothing() -> tuple[F32, Reals]:
    """Spectra and places of no parts."""
    return np.empty((0, 0, 0), dtype=np.float32), np.empty((0, 2))
