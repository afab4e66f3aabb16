"""How far a CTF fit may be relied on: are there rings, is another defocus as good, is there crystalline ice; no fit.

Rings are tested on samples that were not fitted to: the spectrum falls into two interleaved sets of sectors with
independent noise, and the defocus that is best in the one must explain the other. A wrong solution shows as a second
peak of the likelihood along the defocus; the share of the likelihood that lies within 3 % of the answer is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from cryoframe.numerics.backend import Floats, Reals
from cryoframe.numerics.ctf_fit import by_sector, correlation
from cryoframe.numerics.ice import AMORPHOUS_CARBON
from cryoframe.numerics.lens import phase_per_potential_A
from cryoframe.numerics.spectrum import off_axes

if TYPE_CHECKING:
    from cryoframe.numerics.ctf_fit import FitRange, Lens, Samples

#: Sectors of half a turn; those of one half lie between those of the other.
_N_SECTORS = 24
#: Rings that are one sample wide are correlated by the Hann window of the tiles: 1 + 2·((2/3)² + (1/6)²).
_RINGS_TO_ONE = 1.944
#: Spectra are never quite the model; logarithms of likelihoods are multiplied with this (calibrated on the twin).
_TEMPER = 0.5
#: However strong the rings, a rival with nearly their score is a rival: significance counts in full well below this.
_ENOUGH = 15.0
#: What counts as the same defocus.
_SAME_FRAC = 0.03
_SCAN_FRAC, _SCAN_A = 0.01, 150.0
_NORMAL = NormalDist()
#: Spacings that reflections of cubic and hexagonal ice lie between: 3.90, 3.66 and 3.44 Å.
_ICE_A = (4.1, 3.3)
#: Where carbon scatters and vitreous ice hardly does.
_CARBON_A = (8.0, 5.0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a fit.

    Parameters
    ----------
    significance
        Correlation of fringes and spectrum in standard deviations of noise.
    cross_significance
        The same of either half of the sectors at the defocus that is best in the other half; the lesser of the two.
    posterior_frac
        Share of the likelihood along the defocus that lies within 3 % of the answer.
    at_edge
        The answer is the end of the searched range.
    """

    significance: float
    cross_significance: float
    posterior_frac: float
    at_edge: bool

    @property
    def confidence_frac(self) -> float:
        """Probability that there are rings, and that the defocus is within 3 %; 0 at the edge of the range.

        Noise reaches `cross_significance` in one of two halves with probability 2·(1 − Φ).
        """
        rings = 1.0 - min(2.0 * (1.0 - _NORMAL.cdf(self.cross_significance)), 1.0)
        return 0.0 if self.at_edge else rings * self.posterior_frac


def _significance(samples: Samples, scores: Reals) -> Reals:
    """Correlations in standard deviations of noise; each cell's mean counts as one sample, neighbouring rings less."""
    n = len(samples.ring) / _RINGS_TO_ONE
    value: Reals = scores / np.sqrt(np.maximum(1.0 - scores**2, 1e-6)) * np.sqrt(n)
    return value


def _scan(samples: Samples, lens: Lens, point: Reals, means: Reals) -> Reals:
    scores = np.array([correlation(samples, lens, np.array([mean, *point[1:]])) for mean in means])
    return _significance(samples, scores)


def searched_means(limits: FitRange, answer_A: float) -> Reals:
    """Mean defoci from end to end of the range, in steps of 1 % and at most 150 Å; `answer_A` is one of them."""
    means = [limits.defocus_min_A]
    while means[-1] < limits.defocus_max_A:
        means.append(means[-1] + min(_SCAN_A, max(_SCAN_FRAC * abs(means[-1]), 10.0)))
    return np.unique(np.append(means, answer_A))


def judge(samples: Samples, lens: Lens, point: Reals, limits: FitRange) -> Evidence:
    """Weigh a fit.

    Parameters
    ----------
    samples
        As fitted, every ring of the same weight.
    point
        Mean, along, across [Å], phase shift [rad] of the answer.
    limits
        Range that was searched.
    """
    answer = float(point[0])
    means = searched_means(limits, answer)
    halves = [by_sector(samples, _N_SECTORS, parity=parity) for parity in (0, 1)]
    first, second = (_scan(half, lens, point, means) for half in halves)
    cross = min(second[np.argmax(first)], first[np.argmax(second)])
    whole = by_sector(samples, _N_SECTORS // 2)
    scores = _scan(whole, lens, point, means)
    edge = _SCAN_FRAC * abs(answer)
    return Evidence(
        significance=float(scores[np.searchsorted(means, answer)]),
        cross_significance=float(cross),
        posterior_frac=posterior_frac(means, scores, answer),
        at_edge=answer < limits.defocus_min_A - edge or answer > limits.defocus_max_A + edge,
    )


def posterior_frac(means: Reals, scores: Reals, answer_A: float) -> float:
    """Share of exp(½·z²·temper), z² saturating, even in the logarithm of the defocus, that lies near the answer.

    `scores` `(m,)` are significances z at the mean defoci `means`.
    """
    squares = np.maximum(scores, 0.0) ** 2
    logarithm = 0.5 * _TEMPER * squares / (1.0 + squares / _ENOUGH**2)
    width = np.gradient(means) / np.maximum(np.abs(means), 1.0)
    share = np.exp(logarithm - logarithm.max()) * width
    near = np.abs(means - answer_A) <= _SAME_FRAC * max(abs(answer_A), 1.0)
    return float(share[near].sum() / share.sum())


def crystal_frac(power: Floats, pixel_size_A: float) -> float | None:
    """Power of sharp spots between 4.1 and 3.3 Å, as a share of what else is there: that of crystalline ice.

    Parameters
    ----------
    power
        `(n, n//2+1)` mean periodogram of tiles, centred half layout.
    pixel_size_A
        Of the image.

    Returns
    -------
    0 where no sample exceeds the median of its ring by more than the mean of exponentially distributed periodograms
    does once in a thousand spectra; None where the spectrum does not reach so far. Vitreous ice has a broad ring
    there, which is in the median.

    References
    ----------
    Spacings: Dowell & Rinfret, Nature 188, 1144 (1960), doi 10.1038/1881144a0. Quantile of the gamma distribution:
    Wilson & Hilferty, PNAS 17, 684 (1931), doi 10.1073/pnas.17.12.684.
    """
    n = power.shape[0]
    extent = n * pixel_size_A
    radius = np.hypot(np.arange(n // 2 + 1)[None, :], np.arange(n)[:, None] - n // 2)
    chosen = (radius > extent / _ICE_A[0]) & (radius < min(extent / _ICE_A[1], 0.49 * n)) & off_axes(n)
    n_samples = int(chosen.sum())
    if extent / 3.6 > 0.49 * n or n_samples < 200:
        return None
    values, ring = power[chosen].astype(np.float64), np.rint(radius[chosen]).astype(np.int64)
    order = np.argsort(ring, kind="stable")
    starts = np.searchsorted(ring[order], np.unique(ring))
    medians = np.array([np.median(part) for part in np.split(values[order], starts[1:])])
    relative = values / np.maximum(medians, 1e-30)[np.unique(ring, return_inverse=True)[1]]
    spread = 1.4826 * float(np.median(np.abs(relative - 1.0)))
    shape = 1.0 / max(spread, 1e-3) ** 2
    highest = _NORMAL.inv_cdf(1.0 - 1e-3 / n_samples)
    limit = (1.0 - 1.0 / (9.0 * shape) + highest / (3.0 * np.sqrt(shape))) ** 3
    return float(np.sum(relative[relative > limit] - 1.0) / n_samples)


def carbon_equivalent_A(power: Floats, pixel_size_A: float, *, dose_e_A2: float, voltage_kV: float) -> float | None:
    """Thickness of amorphous carbon [Å] that would scatter as strongly between 8 and 5 Å as the specimen does.

    Parameters
    ----------
    power
        `(n, n//2+1)` mean periodogram, centred half layout.
    pixel_size_A, dose_e_A2, voltage_kV
        Of the micrograph. Protein in ice is worth some 10 Å or less, a holey film 100 Å and more, of which a camera
        shows about half.

    Returns
    -------
    P/N = 1 + dose·2σ²·t·p(k) solved for t, with N the lowest power of a range of rings, the counting noise, and p the
    power of 1 Å of carbon; ⟨sin²⟩ of the rings is ½. None where dose or spacing do not allow it.
    """
    n = power.shape[0]
    radius = np.rint(np.hypot(np.arange(n // 2 + 1)[None, :], np.arange(n)[:, None] - n // 2)).astype(np.int64)
    mean = np.bincount(radius.ravel(), power.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    mean, k = mean[: int(0.49 * n)], np.arange(int(0.49 * n)) / (n * pixel_size_A)
    band = (k > 1.0 / _CARBON_A[0]) & (k < 1.0 / _CARBON_A[1])
    if dose_e_A2 <= 0.0 or k[-1] < 1.2 / _CARBON_A[1] or not band.any():
        return None
    width = max(len(mean) // 12, 4)
    floor = float(np.convolve(mean, np.ones(width) / width, mode="valid").min())
    strength = dose_e_A2 * 2.0 * phase_per_potential_A(voltage_kV) ** 2 * AMORPHOUS_CARBON.power_1_A(k[band])
    return max(float(np.mean(mean[band] / max(floor, 1e-30) - 1.0) / np.mean(strength)), 0.0)
