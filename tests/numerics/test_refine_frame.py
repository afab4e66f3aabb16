"""The frame of a map: found against another map, carried by poses, and left where symmetry holds it."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import projection, reconstruction, refine_frame
from cryoframe.numerics.interpolate import half_points
from cryoframe.numerics.rotations import angular_distance_deg, axis_rotation, random_rotations
from cryoframe.numerics.symmetry import rotation_matrices

BOX_PX = 48
# Five rings tell the frame.
R_MAX = 5.0
SHIFT_PX = np.array([0.5, -0.3, 0.8])


def blobs(positions: np.ndarray) -> np.ndarray:
    """Sum of Gaussians of 2 px."""
    axis = np.arange(BOX_PX) - BOX_PX // 2
    x, y, z = (np.exp(-((axis[None] - positions[:, k : k + 1]) ** 2) / 8.0) for k in range(3))
    return np.asarray(np.einsum("az,ay,ax->zyx", z, y, x), dtype=np.float32)


@pytest.fixture
def positions() -> np.ndarray:
    """Places of an oblong thing without symmetry."""
    return np.random.default_rng(3).normal(0.0, (7.0, 4.0, 4.0), (60, 3))


def displaced(positions: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Map that the turn and then `SHIFT_PX` bring to that of the positions."""
    return blobs((positions - SHIFT_PX) @ turn)


@pytest.mark.parametrize("angle_deg", [0.0, 1.5, 8.0])
def test_turn_and_translation_of_a_map__are_found(positions: np.ndarray, angle_deg: float) -> None:
    turn = axis_rotation((1.0, 2.0, -0.5), angle_deg)
    noise = np.random.default_rng(5).normal(0.0, 0.05, (BOX_PX,) * 3).astype(np.float32)
    frame = refine_frame.register(
        2.0 * displaced(positions, turn) + noise,
        blobs(positions),
        box_px=BOX_PX,
        r_max=R_MAX,
        operators=rotation_matrices("C1"),
    )
    # Interpolation in transforms padded twofold is good to a few thousandths of an edge of five rings.
    assert angular_distance_deg(frame.turn, turn) < 0.4
    np.testing.assert_allclose(frame.shift_px, SHIFT_PX, atol=0.05)


def test_poses_brought_along__see_the_same_projections(positions: np.ndarray) -> None:
    turn = axis_rotation((0.3, -1.0, 0.8), 5.0)
    frame = refine_frame.Frame(turn, SHIFT_PX)
    rotations = random_rotations(12, np.random.default_rng(7))
    points = half_points(BOX_PX, r_max=R_MAX)
    turned, shifts = frame.poses(rotations, np.zeros((12, 2)))
    before = projection.project_points(projection.prepare_volume(displaced(positions, turn)), rotations, points)
    after = projection.project_points(projection.prepare_volume(blobs(positions)), turned, points)
    moved = reconstruction.shift_at_points(before, points, shifts, n=BOX_PX)
    # Each side is interpolated by itself, to some 0.6 % of its power; left undone, the change is 8 %.
    assert np.linalg.norm(moved - after) < 0.015 * np.linalg.norm(after)
    assert np.linalg.norm(before - after) > 0.05 * np.linalg.norm(after)


def test_symmetry__leaves_the_frame_only_what_the_axes_do_not_hold(positions: np.ndarray) -> None:
    operators = rotation_matrices("C2")
    both = np.concatenate([positions @ operator.T for operator in operators])
    turn, lift = axis_rotation((0.0, 0.0, 1.0), 3.0), np.array([0.0, 0.0, 0.7])
    frame = refine_frame.register(
        blobs((both - lift) @ turn), blobs(both), box_px=BOX_PX, r_max=R_MAX, operators=operators
    )
    assert angular_distance_deg(frame.turn, turn) < 0.4
    np.testing.assert_array_equal(frame.shift_px[:2], 0.0)
    assert frame.shift_px[2] == pytest.approx(0.7, abs=0.05)
    for group in ("D2", "T", "O", "I"):
        assert not refine_frame.free_axes(rotation_matrices(group)).any()


def test_maps_that_are_not_near_each_other__are_not_brought_far(positions: np.ndarray) -> None:
    frame = refine_frame.register(
        displaced(positions, axis_rotation((0.0, 1.0, 0.0), 90.0)),
        blobs(positions),
        box_px=BOX_PX,
        r_max=R_MAX,
        operators=rotation_matrices("C1"),
    )
    assert angular_distance_deg(frame.turn, np.eye(3)) <= 30.0


def test_density_that_the_other_map_lacks__turns_little(positions: np.ndarray) -> None:
    turn = axis_rotation((1.0, 2.0, -0.5), 1.5)
    angle = np.random.default_rng(9).uniform(0.0, 2.0 * np.pi, 30)
    belt = 15.0 * np.stack([0.3 * np.cos(angle), np.cos(angle), np.sin(angle)], axis=1)
    found = refine_frame.register(
        displaced(np.concatenate([positions, belt]), turn),
        blobs(positions),
        box_px=BOX_PX,
        r_max=R_MAX,
        operators=rotation_matrices("C1"),
    )
    # Laid on the other as a whole, this map is 9.5 degrees off.
    assert angular_distance_deg(found.turn, turn) < 1.5
    np.testing.assert_allclose(found.shift_px, SHIFT_PX, atol=0.15)
