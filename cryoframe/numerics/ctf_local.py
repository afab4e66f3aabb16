"""Defocus by place: the plane of a tilted specimen and the defocus of single parts, from the spectra of parts.

The parts' spectra are fitted together. Each alone has too little signal to be trusted, but a plane has two slopes only,
and the astigmatism is that of the lens, which the spectrum of the whole has shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cryoframe.numerics.backend import F32, Floats, Ints, Reals
from cryoframe.numerics.ctf_fit import Lens, Samples, correlation, sector_of, sector_samples
from cryoframe.numerics.ctf_rings import axis_angle_deg
from cryoframe.numerics.optimise import minimise_simplex

_N_SECTORS = 12
_RINGS_TO_ONE = 1.944
#: Slopes of the first search; finer ones follow from the simplex.
_SLOPES = (0.1, 0.2, 0.35, 0.55, 0.8, 1.1)
_N_DIRECTIONS = 12
_PATCH_A, _PATCH_STEP_A = 600.0, 50.0


@dataclass(frozen=True, slots=True)
class DefocusPlane:
    """A specimen's tilt, and the defocus of its parts.

    Parameters
    ----------
    tilt_deg, tilt_axis_deg
        Right-handed turn, less than 90° to either side, about an axis in [0, 180) from x towards y.
    error_deg
        Standard error of the tilt.
    slopes
        (∂Δf/∂x, ∂Δf/∂y), Å per Å.
    slope_error
        Standard error of either.
    mean_A
        Defocus in the middle of the field.
    defocus_A
        `(g,)` mean of U and V of each part, found beside the plane.
    """

    tilt_deg: float
    tilt_axis_deg: float
    error_deg: float
    slopes: tuple[float, float]
    slope_error: float
    mean_A: float
    defocus_A: Reals


def part_samples(parts: F32, samples: Samples) -> list[Samples]:
    """Sector means of the spectra `(g, n, n//2+1)` of parts, at the places of `samples` of the whole's spectrum."""
    cell = samples.ring.astype(np.int64) * _N_SECTORS + sector_of(samples, _N_SECTORS)
    count = np.bincount(cell, minlength=samples.n_rings * _N_SECTORS)
    used = np.flatnonzero(count)
    table = np.stack([np.bincount(cell, samples.table[:, i], len(count))[used] / count[used] for i in range(4)], axis=1)
    ring, weight = used // _N_SECTORS, count[used].astype(np.float64)
    found = []
    for power in parts:
        mean = np.bincount(cell, power.ravel()[samples.where], len(count))[used] / weight
        table[:, 3] = _flattened(mean, ring, weight, samples.n_rings)
        found.append(sector_samples(table, ring, samples.ring_k_1_A, weight))
    return found


def _flattened(mean: Reals, ring: Ints, weight: Reals, n_rings: int) -> Reals:
    """Means of cells over a polynomial of log power by ring, minus 1."""
    total = np.bincount(ring, weight, n_rings)
    profile = np.bincount(ring, weight * mean, n_rings) / np.maximum(total, 1.0)
    unit, known = np.linspace(-1.0, 1.0, n_rings), total > 0
    logarithm = np.log(np.maximum(profile[known], 1e-30))
    coefficients = np.polynomial.legendre.legfit(unit[known], logarithm, 5, w=np.sqrt(total[known]))
    flat: Reals = mean / np.exp(np.polynomial.legendre.legval(unit, coefficients))[ring] - 1.0
    return flat


def _squares(parts: list[Samples], lens: Lens, point: Reals, defocus_A: Reals) -> float:
    """Σ over the parts of the squared significance of the fringes at their defoci: twice the log likelihood."""
    scores = [correlation(part, lens, np.array([z, *point[1:]])) for part, z in zip(parts, defocus_A, strict=True)]
    return float(sum(max(s, 0.0) ** 2 * len(p.ring) / _RINGS_TO_ONE for s, p in zip(scores, parts, strict=True)))


def fit_plane(parts: list[Samples], centres_A: Floats, lens: Lens, point: Reals) -> DefocusPlane:
    """Plane of defocus through the parts, and the defocus of each.

    Parameters
    ----------
    parts
        From :func:`part_samples`.
    centres_A
        `(g, 2)` (x, y) of the parts against the middle of the field.
    point
        Fit to the whole: mean, along, across [Å], phase shift [rad].

    References
    ----------
    Joint fit of tiles: Elferich et al., eLife 13, RP97227 (2024), doi 10.7554/eLife.97227.
    """
    places = np.asarray(centres_A, dtype=np.float64)

    def gain(plane: Reals) -> float:
        return _squares(parts, lens, point, point[0] + plane[0] + places @ plane[1:])

    angles = np.arange(_N_DIRECTIONS) * 2.0 * np.pi / _N_DIRECTIONS
    starts = [np.zeros(3)] + [
        np.array([0.0, slope * np.cos(angle), slope * np.sin(angle)]) for slope in _SLOPES for angle in angles
    ]
    best = max(starts, key=gain)
    steps = np.array([50.0, 0.05, 0.05])
    plane = minimise_simplex(lambda x: -gain(x), best, step=steps, tolerance=0.02, max_evaluations=250).position
    slope = float(np.hypot(plane[1], plane[2]))
    error = _slope_error(gain, plane)
    tilt, axis = tilt_of_slopes(float(plane[1]), float(plane[2]))
    return DefocusPlane(
        tilt_deg=tilt,
        tilt_axis_deg=axis,
        error_deg=float(np.degrees(error / (1.0 + slope**2))),
        slopes=(float(plane[1]), float(plane[2])),
        slope_error=error,
        mean_A=float(point[0] + plane[0]),
        defocus_A=_beside(parts, lens, point, point[0] + plane[0] + places @ plane[1:]),
    )


def plane_scores(
    parts: list[Samples], centres_A: Floats, lens: Lens, point: Reals, *, plane: DefocusPlane, means_A: Reals
) -> Reals:
    """Significance of all parts together were the plane's mean defocus another, `(m,)`."""
    inclined = np.asarray(centres_A, dtype=np.float64) @ np.array(plane.slopes)
    scores: Reals = np.sqrt([_squares(parts, lens, point, mean + inclined) for mean in means_A])
    return scores


def spread_A(plane: DefocusPlane, extent_A: tuple[float, float]) -> tuple[float, float]:
    """Difference of defocus between opposite sides of a field of (x, y) extent, freed of what its error adds."""
    spreads = [
        float(np.sqrt(max(slope**2 - plane.slope_error**2, 0.0))) * extent
        for slope, extent in zip(plane.slopes, extent_A, strict=True)
    ]
    return spreads[0], spreads[1]


def tilt_of_slopes(slope_x: float, slope_y: float) -> tuple[float, float]:
    """Tilt in (−90, 90) and axis in [0, 180), degrees, of a plane whose defocus rises by these slopes.

    A right-handed turn by t about the axis at angle a lifts what lies at (−sin a, cos a): the defocus rises by tan t
    along it.
    """
    tilt = float(np.degrees(np.arctan(np.hypot(slope_x, slope_y))))
    axis = float(np.degrees(np.arctan2(-slope_x, slope_y))) % 360.0
    if axis >= 180.0:
        tilt, axis = -tilt, axis - 180.0
    return tilt, axis_angle_deg(np.cos(np.radians(2.0 * axis)), np.sin(np.radians(2.0 * axis)))


def _slope_error(gain: Callable[[Reals], float], plane: Reals) -> float:
    """Standard error of the slopes, from how fast twice the log likelihood falls off beside the best plane."""
    width, worst = 0.05, 0.0
    for axis in (1, 2):
        step = np.zeros(3)
        step[axis] = width
        fall = gain(plane) - 0.5 * (gain(plane + step) + gain(plane - step))
        worst = max(worst, width / np.sqrt(max(fall, 1e-6)))
    return worst


def _beside(parts: list[Samples], lens: Lens, point: Reals, defocus_A: Reals) -> Reals:
    """Best defocus of each part within 600 Å of the plane, pulled towards the plane where it tells little."""
    steps = np.arange(-_PATCH_A, _PATCH_A + 1.0, _PATCH_STEP_A)
    found = defocus_A.copy()
    for index, part in enumerate(parts):
        squares = np.array([_squares([part], lens, point, np.array([z])) for z in defocus_A[index] + steps])
        logarithm = 0.5 * squares - 0.5 * (steps / (0.3 * _PATCH_A)) ** 2
        share = np.exp(logarithm - logarithm.max())
        found[index] += float(np.sum(share * steps) / share.sum())
    return found
