"""Ranked picks against true positions: average precision, F1 at the best threshold; unranked counts are elsewhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Floats, Reals


class Ranking(NamedTuple):
    """How good a ranked list of picks is.

    `average_precision` is the mean, over all true positions, of the precision at the rank where each was found (0 for
    those never found); `best_f1` is reached at `best_threshold`.
    """

    average_precision: float
    best_f1: float
    best_threshold: float


def right_picks(found: Floats, truth: Floats, radius: float) -> Bools:
    """Which picks `(m, 2)`, best first, take a true position `(n, 2)` within `radius` that no better one has taken."""
    right = np.zeros(len(found), dtype=bool)
    if not len(truth):
        return right
    free = np.ones(len(truth), dtype=bool)
    for i, (x, y) in enumerate(np.asarray(found, dtype=np.float64)):
        distance = np.hypot(truth[:, 0] - x, truth[:, 1] - y)
        distance[~free] = np.inf
        nearest = int(np.argmin(distance))
        right[i] = distance[nearest] <= radius
        free[nearest] &= not right[i]
    return right


def rank_quality(right: Bools, scores: Reals, n_true: int) -> Ranking:
    """Average precision and best F1 of picks of any number of images together.

    Parameters
    ----------
    right, scores
        `(m,)` whether a pick is a true one, see :func:`right_picks`, and its score.
    n_true
        How many true positions there are.

    References
    ----------
    Average precision: Everingham et al., Int. J. Comput. Vis. 88, 303 (2010), doi 10.1007/s11263-009-0275-4, §4.2,
    without interpolation.
    """
    if n_true < 1:
        raise InvalidInput("there are no true positions", expected="at least one")
    order = np.argsort(-np.asarray(scores), kind="stable")
    hit = np.asarray(right, dtype=bool)[order]
    if not len(hit):
        return Ranking(0.0, 0.0, np.inf)
    n_right = np.cumsum(hit)
    precision = n_right / np.arange(1, len(hit) + 1)
    f1 = 2.0 * n_right / (np.arange(1, len(hit) + 1) + n_true)
    best = int(np.argmax(f1))
    average = float(precision[hit].sum() / n_true)
    return Ranking(average, float(f1[best]), float(np.asarray(scores)[order][best]))
