"""Counts of a counting camera drawn pixel by pixel from what is expected, never electron by electron; no optics here.

A pixel holds at most one event an internal frame, so its counts are binomial: as many trials as there are internal
frames, each with the chance that :func:`cryoframe.numerics.detector.coincidence_curve` gives for the rate there. What
is left out: coincidences make neighbouring pixels slightly anticorrelated, here each pixel is drawn for itself.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Reals

if TYPE_CHECKING:
    from cryoframe.numerics.detector import CoincidenceCurve

Counts16 = npt.NDArray[np.uint16]
Events = npt.NDArray[np.int32]
_N_RATES = 1024
_N_POWERS = 5
_N_LEVELS = 256
#: Without coincidence every electron counts: so many trials to an internal frame are Poisson but for 1/64 of the rate.
_TRIALS_WITHOUT_LOSS = 64
_EVEN: F32 = np.zeros((0, 0), dtype=np.float32)


def _loops() -> Any:
    """Return the compiled loops; loaded late, so that importing the numerics compiles nothing."""
    return importlib.import_module("cryoframe.numerics._numba.detector_thinning")


@dataclass(frozen=True)
class EventChances:
    """Chance `(ny, nx)` that a pixel counts in one of `n_trials` trials; the least and the largest of them."""

    chance: F32
    n_trials: int
    least: float
    most: float


def counted_share(curve: CoincidenceCurve | None) -> tuple[Reals, float]:
    """Share of the detected electrons that is counted, at `(n,)` even rates from 0 to the one returned.

    −log(share) is fitted with n, n^1.5 … of the rate n, as far as points allow: the scatter of the points, which were
    counted, averages out, the curve between them is not straight, and no electron is lost at rate 0.
    """
    if curve is None:
        return np.ones(2), 1.0
    rates, end = np.asarray(curve.detected_e_px[1:]), float(curve.detected_e_px[-1])
    lost = -np.log(np.maximum(np.divide(curve.counted_px[1:], rates), 1e-12))
    powers = 1.0 + 0.5 * np.arange(min(_N_POWERS, len(rates)))
    weights = np.linalg.lstsq((rates[:, None] / end) ** powers, lost, rcond=None)[0]
    even: Reals = np.exp(-(np.linspace(0.0, 1.0, _N_RATES)[:, None] ** powers) @ weights)
    return np.minimum(even, 1.0), end


def event_chances(
    detected_e: F32, n_internal: int, *, curve: CoincidenceCurve | None, sensitivity: F32 | None = None
) -> EventChances:
    """Chances of a count from electrons detected.

    Parameters
    ----------
    detected_e
        `(ny, nx)` electrons detected in each pixel of the sensor in the whole frame, the spread applied.
    n_internal
        Internal frames of it.
    curve
        Of the camera; none where every electron counts. Rates beyond its end are taken as the end's share.
    sensitivity
        `(ny, nx)` factor on the events of each pixel, 1 over the gain; 1 where omitted.
    """
    share, end = counted_share(curve)
    n_trials = n_internal if curve is not None else n_internal * _TRIALS_WITHOUT_LOSS
    chance: F32 = np.empty(detected_e.shape, dtype=np.float32)
    factor = _EVEN if sensitivity is None else sensitivity
    least, most = _loops().chances(chance, detected_e, factor, share, end, n_trials)
    return EventChances(chance, n_trials, float(least), float(most))


def draw_counts(chances: EventChances, key: np.uint64, *, super_resolution: int = 1) -> Counts16:
    """Counts of a frame, uint16, `(ny, nx)` times the super-resolution.

    With super-resolution the counts of a pixel lie at random in its quarters.
    """
    parts = super_resolution**2
    low, most = chances.least / parts, chances.most / parts
    mean = chances.n_trials * most
    n_k = min(chances.n_trials, math.ceil(mean + 9.0 * math.sqrt(mean) + 25.0)) + 1
    if n_k > np.iinfo(np.uint16).max:
        raise InvalidInput(f"{mean:.3g} counts are expected in a pixel and frame", expected="fewer than 60 000")
    levels = np.linspace(low, max(most, low + 1e-9), _N_LEVELS)
    below = np.empty((_N_LEVELS, n_k), dtype=np.uint32)
    guide = np.empty((_N_LEVELS, 1 << _loops().GUIDE_BITS), dtype=np.uint16)
    _loops().binomial_tables(levels, chances.n_trials, below, guide)
    counts: Counts16 = np.empty([n * super_resolution for n in chances.chance.shape], dtype=np.uint16)
    # Levels are chances of a part of a pixel; the loop compares the chances of whole ones.
    per_level = np.float32((_N_LEVELS - 1) / (levels[-1] - levels[0]) / parts)
    least = np.float32(chances.least)
    _loops().draw(counts, chances.chance, least, per_level, below, guide, key, super_resolution)
    return counts


def events_of_counts(counts: Counts16, n_internal: int, key: np.uint64, *, distinct: bool) -> list[Events]:
    """Lay the counts of a frame on its internal frames and on quarters of pixels, both at random.

    Parameters
    ----------
    counts
        `(ny, nx)`; given these, each choice of internal frames is as likely as any other, which is exact for counts
        that are binomial over them.
    distinct
        No two events of a pixel in one internal frame, as a camera that loses coincidences has them.

    Returns
    -------
    For each internal frame `(m, 2)` int32 (row, column) in quarter pixels, pixel by pixel, row by row. Where within
    the pixel an electron entered is forgotten: places are even over it, and the resolution is the pixel's.
    """
    most = int(counts.max(initial=0))
    if distinct and most > n_internal:
        raise InvalidInput(f"a pixel counts {most} in {n_internal} internal frames", expected="one in each at most")
    totals = np.zeros(n_internal, dtype=np.int64)
    _loops().count_internal(counts, max(most, 1), n_internal, key, distinct, totals)
    ends = np.cumsum(totals)
    events: Events = np.empty((int(ends[-1]), 2), dtype=np.int32)
    _loops().place_events(counts, max(most, 1), n_internal, key, distinct, ends - totals, events)
    return np.split(events, ends[:-1])
