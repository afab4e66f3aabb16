"""Fast CTF fit on profiles: means over sectors, then one average along lines of equal phase. The 2-D fit is ctf_fit.

A spectrum has some 10⁵ samples, its rings a few hundred. With sectors narrow enough that astigmatism does not blur the
rings within one, the search needs a hundredth of the work; along lines of equal phase all sectors then add up to one
profile, in which the mean defocus, and the phase shift where there is one, are settled.
"""

from __future__ import annotations

import numpy as np

from cryoframe.numerics.backend import Floats, Reals
from cryoframe.numerics.ctf_fit import (
    FitRange,
    FittedPoint,
    Lens,
    Samples,
    by_sector,
    correlation,
    flatten,
    refine,
    refined_start,
    sector_samples,
    weigh_rings,
)
from cryoframe.numerics.ctf_rings import equal_phase_k
from cryoframe.numerics.optimise import minimise_simplex

_N_SECTORS = 36
_N_ROUNDS = 2
#: Where rings are hardly wider than a sample of the spectrum, means over a whole sample would shift them.
_FINER = 4


def equal_phase_samples(samples: Samples, lens: Lens, point: Reals) -> Samples:
    """Means along lines of equal phase, four to a ring, without astigmatism.

    References
    ----------
    Zhang, J. Struct. Biol. 193, 1 (2016), doi 10.1016/j.jsb.2015.11.003.
    """
    first, step = samples.ring_k_1_A[0], (samples.ring_k_1_A[1] - samples.ring_k_1_A[0]) / _FINER
    ring_k = first + step * np.arange(_FINER * samples.n_rings)
    k = equal_phase_k(samples, lens, point)
    at = np.rint((k - first) / step).astype(np.int64)
    inside = (at >= 0) & (at < len(ring_k))
    weight = samples.weight[inside].astype(np.float64)
    total = np.bincount(at[inside], weight, len(ring_k))
    used = np.flatnonzero(total)
    k2, data = (
        np.bincount(at[inside], weight * values[inside], len(ring_k))[used] / total[used]
        for values in (k**2, samples.table[:, 3].astype(np.float64))
    )
    table = np.stack([k2, np.zeros(len(used)), np.zeros(len(used)), data], axis=1)
    return sector_samples(table, used.astype(np.int64), ring_k, total[used].astype(np.float64))


def fit_profile(power: Floats, pixel_size_A: float, lens: Lens, limits: FitRange) -> FittedPoint:
    """Best point for a power spectrum; parameters as :func:`cryoframe.numerics.ctf_fit.fit_spectrum`."""
    samples = flatten(power, pixel_size_A, low_A=limits.low_A, high_A=limits.high_A)
    with_phase = limits.phase_shift_max_deg > 0
    step = 0.25 / (lens.wavelength_A * float(samples.ring_k_1_A[-1]) ** 2)
    best = refined_start(by_sector(samples), lens, limits)
    sectors = by_sector(samples, _N_SECTORS)
    for _ in range(_N_ROUNDS):
        weighted = weigh_rings(sectors, lens, best)
        best, _ = refine(weighted, lens, best, step_A=0.2 * step, with_phase=with_phase)
        best = _settled(weighted, lens, best, step_A=0.2 * step, with_phase=with_phase)
    return FittedPoint(best, correlation(samples, lens, best), samples, lens)


def _settled(sectors: Samples, lens: Lens, point: Reals, *, step_A: float, with_phase: bool) -> Reals:
    """`point` with the mean defocus and phase shift that are best for the equal-phase profile."""
    profile = equal_phase_samples(sectors, lens, point)
    free = np.array([step_A, 0.1] if with_phase else [step_A])

    def moved(offset: Reals) -> Reals:
        found = point.copy()
        found[0] += offset[0] * free[0]
        found[3] += offset[1] * free[1] if with_phase else 0.0
        return found

    def cost(offset: Reals) -> float:
        flat = moved(offset)
        flat[1:3] = 0.0
        return -correlation(profile, lens, flat)

    return moved(minimise_simplex(cost, np.zeros(len(free)), step=1.0, tolerance=1e-2, max_evaluations=100).position)
