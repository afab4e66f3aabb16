"""Scores reproduce values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.compare import metrics
from cryoframe.data.maps import Volume
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import InvalidInput
from cryoframe.numerics import rotations, symmetry

RNG = np.random.default_rng(2)


def poses(matrices, shifts, ids) -> ParticleTable:
    rot, tilt, psi = rotations.matrix_to_euler(matrices)
    return ParticleTable.from_columns(
        {"particle_id": ids, "rot_deg": rot, "tilt_deg": tilt, "psi_deg": psi, "shift_x_A": shifts[:, 0],
         "shift_y_A": shifts[:, 1], "pose_score": np.ones(len(ids))}
    )  # fmt: skip


def test_a_known_turn_and_shift_is_found__whatever_the_row_order_and_symmetry_mate() -> None:
    n = 20
    truth = rotations.random_rotations(n, RNG)
    turn = rotations.axis_rotation((1, 2, 3), 4.0)
    mates = symmetry.rotation_matrices("D2")[RNG.integers(0, 4, n)]
    shifts, ids = RNG.uniform(-5, 5, (n, 2)), np.arange(n, dtype=np.uint64)
    found = poses(turn @ truth @ mates, shifts + np.array([3.0, 4.0]), ids).select(RNG.permutation(n)[:15])
    score = metrics.pose_error(found, poses(truth, shifts, ids), point_group="D2")
    assert len(score.angle_deg) == 15
    np.testing.assert_allclose(score.angle_deg, 4.0, atol=1e-3)
    np.testing.assert_allclose(score.shift_A, 5.0, atol=1e-4)
    assert score.summary()["angle_median_deg"] == pytest.approx(4.0, abs=1e-3)


def test_tables_without_a_common_particle_are_refused() -> None:
    one = poses(np.eye(3)[None], np.zeros((1, 2)), np.array([1], dtype=np.uint64))
    two = poses(np.eye(3)[None], np.zeros((1, 2)), np.array([2], dtype=np.uint64))
    with pytest.raises(InvalidInput, match="share no particle"):
        metrics.pose_error(one, two)


def test_matching_is_one_to_one_and_as_large_as_possible() -> None:
    true = np.array([[0.0, 0.0], [10.0, 0.0]])
    # both picks are within 8 of the first particle; only by giving the nearer one away are both matched
    found = np.array([[4.0, 0.0], [-3.0, 0.0], [100.0, 0.0]])
    score = metrics.pick_score(found, true, radius_A=8.0)
    assert (score.n_matched, score.recall, score.precision) == (2, 1.0, pytest.approx(2 / 3))
    assert metrics.pick_score(np.zeros((0, 2)), true, radius_A=8.0).recall == 0.0


def test_a_mirrored_map_is_recognised() -> None:
    z, y, x = np.mgrid[:32, :32, :32] - 16.0
    data = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 4)
        for a, b, c in RNG.uniform(-7, 7, (12, 3))
    ).astype(np.float32)  # fmt: skip
    noisy = Volume(data + RNG.normal(0, 0.02, data.shape).astype(np.float32), 2.0)
    mirrored = Volume(np.roll(noisy.data[:, :, ::-1], 1, axis=2), 2.0)
    assert metrics.map_score(noisy, Volume(data, 2.0)).right_hand
    assert not metrics.map_score(mirrored, Volume(data, 2.0)).right_hand
    assert metrics.map_score(mirrored, Volume(data, 2.0)).mirrored_resolution_A == pytest.approx(
        metrics.map_score(noisy, Volume(data, 2.0)).resolution_A
    )


def test_maps_of_different_pixel_are_refused() -> None:
    data = np.zeros((8, 8, 8), dtype=np.float32)
    with pytest.raises(InvalidInput, match="one box and one pixel"):
        metrics.map_score(Volume(data, 2.0), Volume(data, 2.1))
