"""Cliques of picks: who agrees with whom, whatever the order pickers and picks come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import pick_consensus as pc


def three(seed=1, n=40, diameter=100.0):
    """Three pickers that see most of the same places with errors of a tenth of the diameter, and some of their own."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(5)), -1).reshape(-1, 2)[:n] * 2.5 * diameter
    lists, which = [], []
    for _ in range(3):
        rows = np.flatnonzero(rng.random(n) < 0.8)
        own = np.array([[30.0 * diameter, 0.0]]) + 3.0 * diameter * rng.integers(1, 1000, (4, 2))
        places = np.concatenate([grid[rows] + 0.1 * diameter * rng.standard_normal((len(rows), 2)), own])
        lists.append(places)
        which.append(np.concatenate([rows, np.full(4, -1)]))
    return lists, [rng.random(len(one)) for one in lists], which


def test_places_seen_by_all__come_first_and_hold_the_right_picks():
    lists, scores, which = three()
    found = pc.consensus(lists, scores, diameter=100.0)
    assert np.all(np.diff(found.n_agreeing) <= 0)
    for members in found.members:
        truth = {int(which[i][row]) for i, row in enumerate(members) if row >= 0}
        assert len(truth) == 1
    everywhere = set.intersection(*(set(one[one >= 0].tolist()) for one in which))
    assert int((found.n_agreeing == 3).sum()) == len(everywhere)
    shared = pc.agreement(found)
    assert np.diag(shared).tolist() == [len(one) for one in lists]
    assert shared[0, 1] == len(set(which[0][which[0] >= 0]) & set(which[1][which[1] >= 0]))


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(20.0, 120.0))
@settings(max_examples=40, deadline=None)
def test_every_pick__is_in_one_place_and_every_place_is_a_clique(seed, n_pickers, diameter):
    rng = np.random.default_rng(seed)
    lists = [rng.uniform(0, 500, (rng.integers(0, 25), 2)) for _ in range(n_pickers)]
    found = pc.consensus(lists, [rng.random(len(one)) for one in lists], diameter=diameter)
    for i, one in enumerate(lists):
        rows = found.members[:, i]
        assert sorted(rows[rows >= 0].tolist()) == list(range(len(one)))
    for members in found.members:
        places = np.array([lists[i][row] for i, row in enumerate(members) if row >= 0])
        gaps = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
        assert np.all(pc.overlap_frac(gaps, diameter) >= 0.3 - 1e-9)


def test_order_of_pickers_and_picks__does_not_matter():
    lists, scores, _ = three(4)
    found = pc.consensus(lists, scores, diameter=100.0)
    turned = [np.arange(len(one))[::-1] for one in lists]
    again = pc.consensus(
        [lists[i][turned[i]] for i in (2, 0, 1)], [scores[i][turned[i]] for i in (2, 0, 1)], diameter=100.0
    )
    assert np.allclose(np.sort(found.positions, axis=0), np.sort(again.positions, axis=0))
    assert np.allclose(np.sort(found.weight), np.sort(again.weight))


def test_overlap__of_discs_is_one_none_and_a_third_at_the_known_distances():
    # Lens of two unit discs a radius apart: 2π/3 − √3/2.
    lens = 2.0 * np.pi / 3.0 - np.sqrt(3.0) / 2.0
    assert pc.overlap_frac(np.array([0.0, 2.0, 5.0, 1.0]), 2.0) == pytest.approx(
        [1.0, 0.0, 0.0, lens / (2.0 * np.pi - lens)]
    )


def test_nothing_and_nonsense():
    none = pc.consensus([np.empty((0, 2))] * 2, [np.empty(0)] * 2, diameter=10.0)
    assert none.members.shape == (0, 2)
    assert none.positions.shape == (0, 2)
    with pytest.raises(InvalidInput, match="as many"):
        pc.consensus([np.empty((0, 2))], [], diameter=10.0)
    with pytest.raises(InvalidInput, match="overlap"):
        pc.consensus([np.empty((0, 2))], [np.empty(0)], diameter=10.0, least_overlap_frac=2.0)
