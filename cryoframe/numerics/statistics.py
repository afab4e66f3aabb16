"""Estimates with their uncertainty: bootstrap, robust spread, proportions, running moments; no comparison of stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals


class Interval(NamedTuple):
    """An estimate with its confidence interval."""

    estimate: float
    low: float
    high: float


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise InvalidInput(f"a confidence of {confidence} was asked for", expected="between 0 and 1")


def robust_sd(values: npt.ArrayLike, axis: int | None = None) -> Reals:
    """Standard deviation estimated from the median absolute deviation, MAD/Φ⁻¹(¾) = 1.4826·MAD.

    References
    ----------
    Rousseeuw & Croux, J. Am. Stat. Assoc. 88, 1273 (1993), doi 10.1080/01621459.1993.10476408.
    """
    array = np.asarray(values, dtype=np.float64)
    centre = np.median(array, axis=axis, keepdims=True)
    return np.asarray(np.median(np.abs(array - centre), axis=axis) / NormalDist().inv_cdf(0.75))


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[[Reals], float],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap of any statistic of independent observations.

    Parameters
    ----------
    values
        `(m, …)`; observations along the first axis are drawn with replacement.
    statistic
        Of an array like `values`, giving a number.
    rng
        Source of randomness.

    References
    ----------
    Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    _check_confidence(confidence)
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or len(array) == 0:
        raise InvalidInput("there are no observations", expected="at least one")
    draws = rng.integers(0, len(array), size=(n_resamples, len(array)))
    resampled = np.array([statistic(array[draw]) for draw in draws])
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(float(statistic(array)), float(low), float(high))


def wilson_interval(n_successes: int, n_trials: int, *, confidence: float = 0.95) -> Interval:
    """Confidence interval of a proportion that stays within [0, 1].

    References
    ----------
    Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi 10.1080/01621459.1927.10502953.
    """
    _check_confidence(confidence)
    if not 0 <= n_successes <= n_trials or n_trials == 0:
        raise InvalidInput(f"{n_successes} successes of {n_trials} trials", expected="0 <= successes <= trials, > 0")
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    share = n_successes / n_trials
    scale = 1.0 + z * z / n_trials
    centre = (share + z * z / (2.0 * n_trials)) / scale
    half = z / scale * float(np.sqrt(share * (1.0 - share) / n_trials + z * z / (4.0 * n_trials * n_trials)))
    # At the ends centre and half-width cancel exactly but for rounding.
    low = 0.0 if n_successes == 0 else centre - half
    high = 1.0 if n_successes == n_trials else centre + half
    return Interval(share, low, high)


@dataclass(slots=True)
class RunningMoments:
    """Mean and variance of arrays that come one after the other, element by element, without keeping them.

    References
    ----------
    Welford, Technometrics 4, 419 (1962), doi 10.1080/00401706.1962.10490022; merging: Chan, Golub & LeVeque,
    Am. Stat. 37, 242 (1983), doi 10.1080/00031305.1983.10483115.
    """

    count: int = 0
    mean: Reals = field(default_factory=lambda: np.zeros(()))
    _squares: Reals = field(default_factory=lambda: np.zeros(()))

    def add(self, array: Floats) -> None:
        """Take one more array; all have one shape."""
        self.count += 1
        difference = array - self.mean
        self.mean = self.mean + difference / self.count
        self._squares = self._squares + difference * (array - self.mean)

    def merge(self, other: RunningMoments) -> None:
        """Take all arrays another one has taken."""
        if other.count == 0:
            return
        total = self.count + other.count
        difference = other.mean - self.mean
        self.mean = self.mean + difference * (other.count / total)
        self._squares = self._squares + other._squares + difference**2 * (self.count * other.count / total)
        self.count = total

    def variance(self, *, unbiased: bool = True) -> Reals:
        """Variance of each element, divided by count − 1 (or by count)."""
        divisor = self.count - 1 if unbiased else self.count
        if divisor < 1:
            raise InvalidInput(f"a variance of {self.count} arrays was asked for", expected="two or more")
        return np.asarray(self._squares / divisor)
