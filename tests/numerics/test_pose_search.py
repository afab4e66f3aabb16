"""Pose scores: compiled equals generic, grids equal brute force, and what is done with candidates afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, interpolate, pose_posterior, pose_search, projection, residuals, rotations
from cryoframe.numerics.reconstruction import shift_at_points

N = 16


@pytest.fixture(scope="module")
def world():
    """A random map, five of its projections moved, with noise; and the targets that score them."""
    rng = np.random.default_rng(1)
    volume_ft = projection.prepare_volume(rng.standard_normal((N, N, N)).astype(np.float32))
    poses = rotations.random_rotations(5, rng)
    shifts = rng.uniform(-2, 2, (5, 2))
    ctfs = rng.uniform(0.3, 1.0, (5, N, N // 2 + 1)).astype(np.float32)
    images_ft = projection.project(volume_ft, poses) * ctfs * fourier.phase_ramp(N, -shifts)
    points = interpolate.half_points(N, r_min=1, r_max=6)
    targets = pose_search.make_targets(images_ft, ctfs, np.full(N // 2 + 1, 50.0), points)
    return volume_ft, poses, shifts, images_ft, ctfs, targets


def start_of(poses, shifts):
    return pose_search.Poses(
        np.stack([poses, poses[::-1]], 1), np.stack([shifts, shifts], 1), np.zeros((len(poses), 2))
    )


def test_compiled_scores__equal_generic_ones(world):
    from cryoframe.numerics._numba import pose_search as compiled

    volume_ft, poses, shifts, _, _, targets = world
    arguments = {
        "neighbours": pose_search.rotation_neighbours(3.0, 2),
        "shifts_px": pose_search.shift_grid(1.5, 1.0),
        "padding": 2,
    }
    cross, square = pose_search.generic_local_scores(np, volume_ft, targets, start_of(poses, shifts), **arguments)
    fast_cross, fast_square = compiled.local_scores(np, volume_ft, targets, start_of(poses, shifts), **arguments)
    assert np.abs(cross - fast_cross).max() < 1e-4 * np.abs(cross).max()
    assert np.abs(square - fast_square).max() < 1e-4 * square.max()


def test_score__is_the_likelihood_gain(world):
    volume_ft, poses, shifts, images_ft, ctfs, targets = world
    found = pose_search.search_local(
        volume_ft,
        targets,
        pose_search.Poses(poses[:, None], shifts[:, None], np.zeros((5, 1))),
        neighbours=np.eye(3)[None],
        shifts_px=np.zeros((1, 2)),
        n_keep=1,
    )
    points = targets.points
    observed = interpolate.at_points(images_ft, points)
    model = interpolate.at_points(ctfs, points) * projection.project_points(volume_ft, poses, points)
    model = shift_at_points(model, points, -shifts, n=N)
    gain = (np.abs(observed) ** 2 - np.abs(observed - model) ** 2).sum(axis=1) / 50.0
    assert found.scores[:, 0] == pytest.approx(gain, rel=1e-4)


def test_grid_search__finds_the_true_row_and_shift(world):
    volume_ft, poses, _, _, ctfs, targets = world
    grid = np.concatenate([rotations.random_rotations(40, np.random.default_rng(2)), poses])
    whole = np.array([[1, 0], [0, -1], [2, 1], [0, 0], [-1, -1]], dtype=float)
    moved = projection.project(volume_ft, poses) * ctfs * fourier.phase_ramp(N, -whole)
    targets = pose_search.make_targets(moved, ctfs, np.full(N // 2 + 1, 50.0), targets.points)
    found = pose_search.search_grid(volume_ft, targets, grid, pose_search.shift_grid(3, 1), n_keep=4)
    assert np.allclose(found.rotations[:, 0], poses)
    assert np.allclose(found.shifts_px[:, 0], whole)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert found.rotations.shape == (5, 4, 3, 3)


def test_grid_search_around_centres__adds_them(world):
    volume_ft, poses, shifts, _, _, targets = world
    found = pose_search.search_grid(volume_ft, targets, poses, np.zeros((1, 2)), n_keep=1, centres_px=shifts)
    assert np.allclose(found.shifts_px[:, 0], shifts)
    assert np.allclose(found.rotations[:, 0], poses)


def test_free_scale__does_not_feel_the_scale_of_the_map(world):
    volume_ft, poses, shifts, images_ft, ctfs, targets = world
    free = pose_search.make_targets(images_ft, ctfs, np.full(N // 2 + 1, 50.0), targets.points, free_scale=True)
    arguments = {"neighbours": pose_search.rotation_neighbours(5, 3), "shifts_px": np.zeros((1, 2)), "n_keep": 3}
    one = pose_search.search_local(volume_ft, free, start_of(poses, shifts), **arguments)
    ten = pose_search.search_local(np.complex64(10) * volume_ft, free, start_of(poses, shifts), **arguments)
    assert one.scores == pytest.approx(ten.scores, rel=1e-4)
    assert np.allclose(one.rotations, ten.rotations)
    # On its own scale the map fits best as it is: both scores then agree.
    bound = pose_search.search_local(volume_ft, targets, start_of(poses, shifts), **arguments)
    assert one.scores[:, 0] == pytest.approx(bound.scores[:, 0], rel=1e-3)


def test_candidates_left_out__never_win(world):
    volume_ft, poses, shifts, _, _, targets = world
    start = start_of(poses, shifts)
    start.scores[:, 0] = -np.inf
    found = pose_search.search_local(
        volume_ft, targets, start, neighbours=np.eye(3)[None], shifts_px=np.zeros((1, 2)), n_keep=2
    )
    assert np.allclose(found.rotations[:, 0], poses[::-1])
    assert np.isneginf(found.scores[:, 1]).all()


def test_groups_of_references__each_give_their_best(world):
    volume_ft, poses, _, _, _, targets = world
    table = projection.project_points(volume_ft, np.repeat(poses[:3], 2, axis=0), targets.points)
    table[1::2] *= 0.5
    rows, _, scores = pose_search.search_table(targets, table, pose_search.shift_grid(1, 1), group_size=2)
    assert rows.shape == (5, 3)
    assert (rows // 2 == np.arange(3)).all()
    all_rows, _, all_scores = pose_search.search_table(targets, table, pose_search.shift_grid(1, 1), n_keep=6)
    assert all_scores.max(axis=1) == pytest.approx(scores.max(axis=1), rel=1e-6)
    assert sorted(all_rows[0]) == list(range(6))


def test_start_without_a_candidate_axis__is_refused(world):
    volume_ft, poses, shifts, _, _, targets = world
    with pytest.raises(InvalidInput, match="candidates"):
        pose_search.search_local(
            volume_ft,
            targets,
            pose_search.Poses(poses, shifts, np.zeros(5)),
            neighbours=np.eye(3)[None],
            shifts_px=np.zeros((1, 2)),
            n_keep=1,
        )


def test_lattice_of_small_rotations__has_its_spacing():
    lattice = rotations.angular_distance_deg(pose_search.rotation_neighbours(2.0, 3), np.eye(3))
    assert len(lattice) == 27
    assert sorted(np.round(lattice, 6))[0] == 0.0
    assert sorted(np.round(lattice, 6))[1] == pytest.approx(2.0)
    assert lattice.max() == pytest.approx(2.0 * np.sqrt(3.0))


def test_shift_grid__fills_a_disc():
    grid = pose_search.shift_grid(2.0, 1.0)
    assert len(grid) == 13
    assert np.hypot(*grid.T).max() == 2.0


def test_posterior_mean__weighs_near_candidates_and_leaves_out_far_ones():
    turn = [rotations.axis_rotation((0, 0, 1), angle) for angle in (0.0, 2.0, 90.0)]
    poses = pose_search.Poses(np.stack(turn)[None], np.array([[[0.0, 0], [1, 0], [9, 9]]]), np.zeros((1, 3)))
    found = pose_posterior.posterior_mean(poses)
    assert rotations.angular_distance_deg(found.rotations, rotations.axis_rotation((0, 0, 1), 1.0)) < 1e-6
    assert found.shifts_px[0] == pytest.approx([0.5, 0.0])
    assert found.probability[0] == pytest.approx(1 / 3)
    best = pose_posterior.best_pose(poses)
    assert np.allclose(best.rotations[0], np.eye(3))
    assert best.candidates().rotations.shape == (1, 1, 3, 3)


def test_correlated_evidence__counts_less():
    poses = pose_search.Poses(np.tile(np.eye(3), (1, 2, 1, 1)), np.array([[[0.0, 0], [1, 0]]]), np.array([[4.0, 0.0]]))
    full = pose_posterior.posterior_mean(poses).shifts_px[0, 0]
    half = pose_posterior.posterior_mean(poses, evidence_frac=0.5).shifts_px[0, 0]
    assert full == pytest.approx(1 / (1 + np.exp(4)))
    assert half == pytest.approx(1 / (1 + np.exp(2)))


def test_mask__is_laid_where_the_particle_is():
    image = np.random.default_rng(3).standard_normal((1, N, N)).astype(np.float32)
    mask = np.zeros((N, N), dtype=np.float32)
    mask[N // 2, N // 2] = 1.0
    back = fourier.ifft2_centred(pose_posterior.masked_transforms(image, np.array([[3.2, -1.6]]), mask))[0]
    expected = np.zeros((N, N))
    expected[N // 2 + 2, N // 2 - 3] = image[0, N // 2 + 2, N // 2 - 3]
    assert np.abs(back - expected).max() < 1e-5


def test_noise_power__is_that_of_the_noise(world):
    volume_ft, poses, shifts, images_ft, ctfs, _ = world
    rng = np.random.default_rng(4)
    noise = fourier.fft2_centred(rng.normal(0.0, 2.0, (5, N, N)).astype(np.float32))
    alone = residuals.power_by_ring(noise)
    left = residuals.residual_power(volume_ft, images_ft + noise, poses, shifts, ctfs=ctfs)
    # White noise of variance 4 has power 4 N^2 in every sample; some hundred samples an image and ring.
    assert alone[:, 3:].mean() == pytest.approx(4 * N * N, rel=0.1)
    inside = slice(2, N // 2 - 1)
    assert left[:, inside] == pytest.approx(alone[:, inside], rel=0.02)


def test_group_spectra__are_shared_and_never_zero():
    power = np.array([[1.0, 0.0], [3.0, 0.0], [7.0, 7.0]])
    spectra = residuals.group_spectra(power, np.array(["a", "a", "b"]))
    assert spectra[0] == pytest.approx([2.0, 2e-6])
    assert np.array_equal(spectra[0], spectra[1])
    assert spectra[2] == pytest.approx([7.0, 7.0])


def test_hopeless_candidates__are_followed_no_further():
    scores = np.array([[5.0, 4.0, -20.0], [-3.0, 9.0, -np.inf]])
    poses = pose_search.Poses(np.zeros((2, 3, 3, 3)), np.zeros((2, 3, 2)), scores)
    kept = pose_search.without_hopeless(poses, 10.0).scores
    assert np.isfinite(kept).tolist() == [[True, True, False], [False, True, False]]
