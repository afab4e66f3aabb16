"""Ranked picks of several micrographs against the true places: average precision and F1, borders left out.

Counts of picks as they are, and what wrong ones lie on, are in ``truth_scores``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoframe.numerics.pick_scores import Ranking, rank_quality, right_picks

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Picked:
    """Picks of one micrograph `(m, 2)` (x, y) [Å] with scores `(m,)`, and the true places `(n, 2)` in its extent."""

    xy_A: Floats
    scores: Floats
    true_xy_A: Floats
    #: (width, height) of the micrograph.
    extent_A: tuple[float, float]


@dataclass(frozen=True)
class PickQuality:
    """How good ranked picks are, and the F1 of the list as it was given."""

    ranking: Ranking
    f1: float
    n_true: int


def pick_quality(picked: Sequence[Picked], *, diameter_A: float, radius_A: float) -> PickQuality:
    """Judge the picks of several micrographs together.

    Parameters
    ----------
    picked
        One entry a micrograph.
    diameter_A
        Of the particle. Particles and picks nearer the border than half of it count neither way: such particles are
        cut, and cannot be extracted.
    radius_A
        Farthest a pick may be from the particle it counts for.
    """
    right, scores, n_true = [], [], 0
    for one in picked:
        hit, kept, n = _judged(one, 0.5 * diameter_A, radius_A)
        right.append(hit[kept])
        scores.append(np.sort(one.scores)[::-1][kept])
        n_true += n
    hits, merits = np.concatenate(right), np.concatenate(scores)
    f1 = 2.0 * int(hits.sum()) / max(len(hits) + n_true, 1)
    return PickQuality(rank_quality(hits, merits, n_true), f1, n_true)


def _judged(one: Picked, margin_A: float, radius_A: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """Which picks, best first, are right, which count, and how many true places count."""
    order = np.argsort(-one.scores, kind="stable")
    xy = one.xy_A[order]
    inner = _inside(one.true_xy_A, one.extent_A, margin_A)
    hit = right_picks(xy, one.true_xy_A[inner], radius_A)
    left = np.flatnonzero(~hit)
    on_cut = right_picks(xy[left], one.true_xy_A[~inner], radius_A)
    kept = hit | _inside(xy, one.extent_A, margin_A)
    kept[left[on_cut]] = False
    return hit, kept, int(inner.sum())


def _inside(xy_A: Floats, extent_A: tuple[float, float], margin_A: float) -> NDArray[np.bool_]:
    extent = np.asarray(extent_A)
    return np.asarray(np.all((xy_A > margin_A) & (xy_A < extent - margin_A), axis=1), dtype=bool)
