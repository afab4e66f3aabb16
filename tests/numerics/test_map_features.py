"""Counting what a map resolves: pairs, gaps and peaks of made-up atoms."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import map_features as features


def gaussians(places_A, sigma_A, n=48, pixel_A=0.5):
    axis = (np.arange(n) - n // 2) * pixel_A
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    total = np.zeros((n, n, n))
    for place in places_A:
        total += np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2) / (2.0 * sigma_A**2))
    return total


def test_bonds__are_the_pairs_of_their_length():
    places = np.array([[0.0, 0, 0], [1.5, 0, 0], [3.0, 0, 0], [0.0, 2.4, 0], [0.0, 3.8, 0], [0.5, 0, 0]])
    found = {tuple(sorted(pair)) for pair in features.bonded_pairs(places)}
    assert found == {(0, 1), (1, 2), (3, 4)}
    assert features.bonded_pairs(np.zeros((1, 3))).shape == (0, 2)


@pytest.mark.parametrize(("sigma_A", "apart"), [(0.5, True), (0.65, True), (0.8, False), (1.2, False)])
def test_two_atoms__are_apart_until_their_sum_has_no_dip(sigma_A, apart):
    """Two Gaussians a distance d apart have a dip where d > 2σ (Sparrow's limit): 1.5 Å, σ 0.75 Å."""
    places = np.array([[-0.75, 0.0, 0.0], [0.75, 0.0, 0.0]])
    found = features.pairs_apart(gaussians(places, sigma_A), 0.5, places, np.array([[0, 1]]))
    assert bool(found[0]) is apart


def test_values__are_read_between_voxels_and_are_nothing_outside():
    volume = np.arange(8**3, dtype=np.float64).reshape(8, 8, 8)
    places = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.25, 1.0], [99.0, 0.0, 0.0]])
    origin = volume[4, 4, 4]
    assert features.values_at(volume, 1.0, places) == pytest.approx([origin, origin + 0.5, origin + 2.0 + 64.0, 0.0])


def test_peaks__are_seen_where_they_are_and_nowhere_else():
    places = np.array([[2.2, -3.1, 4.0], [-5.0, 5.0, 0.0]])
    volume = gaussians(places, 0.6)
    elsewhere = places + 1.5
    assert features.peaks_seen(volume, 0.5, places).tolist() == [True, True]
    assert not features.peaks_seen(volume, 0.5, elsewhere).any()
    # A shoulder of a higher neighbour has no peak of its own.
    shoulder = places[0] + (0.0, 0.0, 1.0)
    merged = volume + 0.3 * gaussians([shoulder], 0.6)
    assert features.peaks_seen(merged, 0.5, np.array([shoulder])).tolist() == [False]
    weak = volume + 0.01 * gaussians([[6.0, -6.0, -6.0]], 0.6)
    assert features.peaks_seen(weak, 0.5, np.array([[6.0, -6.0, -6.0]])).tolist() == [False]
    with pytest.raises(InvalidInput, match="-1 σ"):
        features.peaks_seen(volume, 0.5, places, n_sigma=-1)


def test_features__count_alternatives_of_an_atom_once():
    atoms = np.array([[0.0, 0, 0], [0.1, 0, 0], [1.5, 0, 0]])
    waters = np.array([[-6.0, 5.0, 2.0], [-6.0, 5.2, 2.0]])
    volume = gaussians(atoms[[0, 2]], 0.4) + gaussians(waters[:1], 0.4)
    assert features.map_features(volume, 0.5, atoms, waters) == (1, 1, 1, 1)
    assert features.map_features(volume, 0.5, atoms[:1], np.zeros((0, 3))) == (0, 0, 0, 0)
