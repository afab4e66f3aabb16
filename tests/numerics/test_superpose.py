"""Superposition, and turning assemblies onto symmetry axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import rotations, superpose, symmetry


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_moved_set_of_points__is_laid_back_exactly(seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((12, 3))
    turn, shift = rotations.random_rotations(1, rng)[0], rng.standard_normal(3)
    r, t, left = superpose.superpose(points, points @ turn.T + shift)
    assert np.allclose(r, turn, atol=1e-8)
    assert np.allclose(t, shift, atol=1e-8)
    assert left < 1e-8


def test_a_mirror_image__is_not_matched_by_a_reflection():
    points = np.random.default_rng(1).standard_normal((12, 3))
    r, _, left = superpose.superpose(points, points * [-1, 1, 1])
    assert np.linalg.det(r) == pytest.approx(1.0)
    assert left > 0.1


@given(st.integers(0, 10_000), st.floats(0.5, 179.9))
@settings(max_examples=40, deadline=None)
def test_axis_and_angle__are_those_the_rotation_was_made_of(seed, angle):
    axis = np.random.default_rng(seed).standard_normal(3)
    axis /= np.linalg.norm(axis)
    found, found_angle = superpose.rotation_axis(rotations.axis_rotation(axis, angle))
    assert found_angle == pytest.approx(angle, abs=1e-4)
    assert found == pytest.approx(axis, abs=1e-4)


def test_half_and_no_turns__have_an_axis():
    found, angle = superpose.rotation_axis(rotations.axis_rotation((0.6, 0.0, -0.8), 180.0))
    assert angle == pytest.approx(180.0)
    assert abs(found @ [0.6, 0.0, -0.8]) == pytest.approx(1.0)
    assert superpose.rotation_axis(np.eye(3))[1] == 0.0


@pytest.mark.parametrize(
    ("group", "n_ways"),
    [("C1", 1), ("C2", 2), ("C4", 2), ("D2", 6), ("D3", 2), ("D7", 2), ("T", 2), ("O", 1), ("I1", 1)],
)
def test_a_turned_group__is_brought_back_in_every_way_it_fits(group, n_ways):
    turn = rotations.random_rotations(1, np.random.default_rng(5))[0]
    wanted = symmetry.rotation_matrices(group)
    turned = turn @ wanted @ turn.T
    ways = superpose.orientations_for(turned, group)
    assert len(ways) == n_ways
    for way in ways:
        back = way @ turned @ way.T
        for operator in wanted:
            assert rotations.angular_distance_deg(back, operator).min() < 0.01


def test_symmetry_that_is_not_there__is_refused_with_a_remedy():
    with pytest.raises(InvalidInput, match="symmetry D4") as caught:
        superpose.orientations_for(symmetry.rotation_matrices("D2"), "D4")
    assert "C1" in caught.value.remedy
    with pytest.raises(InvalidInput, match="at least 3"):
        superpose.superpose(np.zeros((2, 3)), np.zeros((2, 3)))
