"""Euler angles, matrices, quaternions, grids: round trips and shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import rotations as room

ANGLE = st.floats(-720, 720)


@given(ANGLE, ANGLE, ANGLE)
def test_euler_to_matrix_and_back__is_the_same_rotation(rot, tilt, psi):
    matrix = room.euler_to_matrix(rot, tilt, psi)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    again = room.euler_to_matrix(*room.matrix_to_euler(matrix))
    # Near the poles rot is set to 0 when sin(tilt) is below 16 float epsilons, 1.9·10⁻⁶ rad.
    assert room.angular_distance_deg(matrix, again) < 2.5e-4


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_poles__rot_is_zero__psi_carries_all(tilt):
    matrix = room.euler_to_matrix(30.0, tilt, 50.0)
    rot, found_tilt, psi = room.matrix_to_euler(matrix)
    assert rot == 0.0
    assert found_tilt == tilt
    np.testing.assert_allclose(room.euler_to_matrix(rot, found_tilt, psi), matrix, atol=1e-12)


def test_angles__come_back_in_their_ranges():
    rot, tilt, psi = room.matrix_to_euler(room.random_rotations(500, np.random.default_rng(0)))
    assert np.all((tilt >= 0) & (tilt <= 180))
    assert np.all(np.abs(rot) <= 180)
    assert np.all(np.abs(psi) <= 180)


def test_euler_angles__broadcast():
    assert room.euler_to_matrix(np.zeros(4), 10.0, 0.0).shape == (4, 3, 3)
    assert room.euler_to_matrix(np.zeros((2, 1)), np.zeros(3), 0.0).shape == (2, 3, 3, 3)


def test_quaternions__round_trip_with_positive_w():
    matrices = room.random_rotations(300, np.random.default_rng(1))
    half_turns = np.stack([room.axis_rotation(axis, 180.0) for axis in np.eye(3)])
    matrices = np.concatenate([matrices, half_turns, np.eye(3)[None]])
    quaternions = room.matrix_to_quaternion(matrices)
    assert np.all(quaternions[:, 0] >= 0)
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0)
    np.testing.assert_allclose(room.quaternion_to_matrix(quaternions), matrices, atol=1e-12)


def test_quaternion__of_a_quarter_turn_about_z():
    quarter = room.quaternion_to_matrix([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
    np.testing.assert_allclose(quarter, room.axis_rotation((0, 0, 1), 90.0), atol=1e-15)
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@given(st.floats(0, 180), st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_angular_distance__of_a_turn_is_its_angle(angle, axis):
    start = room.euler_to_matrix(10.0, 20.0, 30.0)
    assert room.angular_distance_deg(start, room.axis_rotation(axis, angle) @ start) == pytest.approx(angle, abs=1e-5)


def test_angular_distance__keeps_small_angles():
    turned = room.axis_rotation((1, 2, 3), 1e-7)
    assert room.angular_distance_deg(np.eye(3), turned) == pytest.approx(1e-7, rel=1e-6)


def test_random_rotations__are_repeatable_and_rotations():
    one = room.random_rotations(50, np.random.default_rng(7))
    np.testing.assert_array_equal(one, room.random_rotations(50, np.random.default_rng(7)))
    np.testing.assert_allclose(np.linalg.det(one), 1.0)


def test_directions__are_the_last_row_of_the_matrix():
    rot, tilt = np.array([10.0, 200.0]), np.array([35.0, 120.0])
    np.testing.assert_allclose(room.directions(rot, tilt), room.euler_to_matrix(rot, tilt, 77.0)[:, 2], atol=1e-15)


@pytest.mark.parametrize("step", [30.0, 10.0, 4.0])
def test_sphere_grid__has_the_promised_number_and_no_gap(step):
    grid = room.sphere_grid(step)
    assert len(grid) == round(4 * np.pi / np.radians(step) ** 2)
    vectors = room.directions(grid[:, 0], grid[:, 1])
    probes = np.random.default_rng(0).standard_normal((500, 3))
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    nearest = np.degrees(np.arccos(np.clip((probes @ vectors.T).max(axis=1), -1, 1)))
    assert nearest.max() < step


def test_so3_grid__covers_every_orientation_within_the_step():
    angles = room.so3_grid(20.0)
    matrices = room.euler_to_matrix(*angles.T)
    probes = room.random_rotations(200, np.random.default_rng(2))
    traces = np.einsum("aij,bij->ab", probes, matrices).max(axis=1)
    assert np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1))).max() < 20.0
    assert len(angles) == len(room.sphere_grid(20.0)) * 18


def test_psi_grid__closes_the_circle_with_equal_steps():
    psi = room.psi_grid(7.0)
    assert len(psi) == 52
    np.testing.assert_allclose(np.diff(psi), 360 / 52)


@pytest.mark.parametrize("step", [0.0, -1.0, 181.0, float("nan")])
def test_impossible_steps__are_refused(step):
    with pytest.raises(InvalidInput, match="grid step"):
        room.sphere_grid(step)
