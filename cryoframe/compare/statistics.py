"""Paired differences of two implementations and the interval they lie in. Plain numbers in, plain numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput

N_RESAMPLES = 4000


@dataclass(frozen=True)
class Paired:
    """Differences b - a over the items that both answered."""

    n: int
    mean_a: float
    mean_b: float
    median_difference: float
    #: Bounds of the median difference, from resampled items; equal to it for a single item.
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out 0; never with fewer than six items, where it cannot be trusted."""
        return self.n >= 6 and (self.low > 0 or self.high < 0)


def paired(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, level_frac: float = 0.95, period: float = 0.0
) -> Paired:
    """Compare two sequences item by item.

    Parameters
    ----------
    a, b
        One value an item, in the same order; pairs with a value that is not finite are left out.
    seed
        Of the resampling.
    level_frac
        Coverage of the interval.
    period
        Of a quantity that comes round, such as an angle; 0 = it does not. Differences are then the shortest, means
        circular (Mardia & Jupp, Directional Statistics (2000), ch. 2).

    Raises
    ------
    InvalidInput
        If the lengths differ or no pair is finite.

    References
    ----------
    Percentile bootstrap of the median: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InvalidInput(f"{first.shape} and {second.shape} values", expected="two sequences of one length")
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if not len(first):
        raise InvalidInput("no item has a value from both", expected="at least one")
    difference = second - first
    if period > 0:
        difference = (difference + period / 2) % period - period / 2
    low, high = bootstrap_median(difference, seed=seed, level_frac=level_frac)
    middle = float(np.median(difference))
    return Paired(len(first), _mean(first, period), _mean(second, period), middle, low, high)


def _mean(values: np.ndarray, period: float) -> float:
    if not period > 0:
        return float(values.mean())
    turn = 2 * np.pi / period
    return float(np.angle(np.exp(1j * turn * values).mean()) / turn % period)


def bootstrap_median(
    values: Sequence[float] | np.ndarray, *, seed: int = 0, level_frac: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the median."""
    sample = np.asarray(values, dtype=np.float64)
    rng = np.random.Generator(np.random.Philox(key=seed))
    medians = np.median(sample[rng.integers(0, len(sample), (N_RESAMPLES, len(sample)))], axis=1)
    tail = (1 - level_frac) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return float(low), float(high)
