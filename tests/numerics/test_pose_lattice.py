"""Posteriors on lattices around modes: as the sum over a much finer lattice, spread, told apart, each point once."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import interpolate, pose_lattice, pose_search, projection, rotations
from cryoframe.numerics.reconstruction import shift_at_points

N = 16
POINTS = interpolate.half_points(N, r_min=1.0, r_max=6.0)
SHIFTS = pose_lattice.hexagon(0.5)
SCORE = pose_lattice.score


@pytest.fixture(scope="module")
def world():
    """A map and three noisy images of it."""
    rng = np.random.default_rng(3)
    z, y, x = np.mgrid[:N, :N, :N] - N // 2
    volume = np.zeros((N, N, N))
    for at in rng.uniform(-4.0, 4.0, (8, 3)):
        volume += np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / 3.0)
    volume_ft = projection.prepare_volume(volume.astype(np.float32))
    truth = rotations.random_rotations(3, rng)
    clean = projection.project_points(volume_ft, truth, POINTS)
    noise = rng.standard_normal((2, *clean.shape)) * np.abs(clean).std() * 0.3
    variance = 2.0 * float((noise**2).mean())
    values = (2.0 * (clean + noise[0] + 1j * noise[1]) / variance).astype(np.complex64)
    weights = np.full(clean.shape, 1.0 / variance, np.float32)
    return volume_ft, truth, pose_search.Targets(values, weights, POINTS, N)


def modes_at(turns, width_deg=3.0):
    m, k = turns.shape[:2]
    return pose_lattice.Modes(turns, np.zeros((m, k, 2)), np.full((m, k), 1.0 / k), np.full((m, k), width_deg))


def direct_mass(world, image, turns, evidence_frac):
    """Log of the posterior summed over translations, from its definition."""
    volume_ft, _, targets = world
    shadows = projection.project_points(volume_ft, turns, POINTS)
    moved = shift_at_points(np.broadcast_to(targets.values[image], (len(SHIFTS), len(POINTS))), POINTS, SHIFTS, n=N)
    cross = (shadows[:, None] * moved[None].conj()).real.sum(axis=2)
    joint = evidence_frac * (cross - (targets.weights[image] * np.abs(shadows) ** 2).sum(axis=1)[:, None])
    top = joint.max(axis=1)
    return np.log(np.exp(joint - top[:, None]).sum(axis=1)) + top


def test_shares_of_points__are_those_of_the_exhaustive_sum(world):
    volume_ft, truth, targets = world
    offsets = pose_lattice.lattice(6.0)
    scored = pose_lattice.score(volume_ft, targets, modes_at(truth[:, None]), offsets, SHIFTS, evidence_frac=0.1)
    shares = pose_lattice.shares_of(scored.log_mass)
    for image in range(3):
        direct = np.exp(direct_mass(world, image, rotations.vector_rotation(offsets) @ truth[image], 0.1))
        assert shares[image, 0] == pytest.approx(direct / direct.sum(), abs=1e-4)


def test_adapted_lattice__has_mean_and_width_of_the_posterior(world):
    """Against a lattice of 9 000 points and a half of its step: to a quarter of the width."""
    volume_ft, truth, targets = world
    found = pose_lattice.follow(
        volume_ft, targets, modes_at(truth[:, None], 4.0), least_step_deg=1.0, shift_step_px=0.5, evidence_frac=1.0,
        n_insert=8,
    )  # fmt: skip
    axis = np.radians(np.arange(-10, 10.1, 1.0) * 1.2)
    vectors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    for image in range(3):
        mass = direct_mass(world, image, rotations.vector_rotation(vectors) @ truth[image], 1.0)
        share = np.exp(mass - mass.max()) / np.exp(mass - mass.max()).sum()
        mean = share @ vectors
        width = np.degrees(np.sqrt((share @ (vectors - mean) ** 2).mean()))
        exact = rotations.vector_rotation(mean) @ truth[image]
        assert 2.0 < width < 4.5
        assert rotations.angular_distance_deg(found.modes.rotations[image, 0], exact) < 0.25 * width
        assert found.modes.width_deg[image, 0] == pytest.approx(width, rel=0.15)
        assert found.rim[image] < 0.06


@pytest.mark.parametrize(("width_deg", "grows"), [(0.5, True), (30.0, False)])
def test_lattice_of_a_wrong_step__is_laid_anew_until_it_serves(world, width_deg, grows):
    volume_ft, truth, targets = world
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_lattice, "score", lambda *a, **k: asked.append(a[3][:, 0].max()) or SCORE(*a, **k))
        found = pose_lattice.follow(
            volume_ft, targets, modes_at(truth[:, None], width_deg), least_step_deg=1.5, shift_step_px=0.5,
            evidence_frac=1.0, n_insert=8,
        )  # fmt: skip
    assert len(asked) > 1
    assert (max(asked[1:]) > asked[0]) if grows else (min(asked[1:]) < asked[0])
    assert found.modes.share[:, 0] == pytest.approx(np.ones(3))
    assert found.rim.max() < 0.15


def test_poses_an_image_is_summed_at__hold_its_posterior_and_its_mean(world):
    volume_ft, truth, targets = world
    offsets = pose_lattice.lattice(4.0)
    modes = modes_at(truth[:, None])
    scored = pose_lattice.score(volume_ft, targets, modes, offsets, SHIFTS, evidence_frac=0.2)
    mean = pose_lattice.summed(modes, scored)
    turns, shifts, shares = pose_lattice.octants(modes, scored, least_deg=0.5, n_most=8)
    assert shares.sum(axis=1) == pytest.approx(np.ones(3))
    assert (shares > 0.02).all()
    assert np.einsum("mk,mkx->mx", shares, shifts) == pytest.approx(mean.shifts_px[:, 0], abs=1e-3)
    centre, _, right = np.linalg.svd(np.einsum("mk,mkij->mij", shares, turns))
    assert rotations.angular_distance_deg(centre @ right, mean.rotations[:, 0]).max() < 0.1
    # They are as far from the mean as half a Gaussian is on average, 0.8 deviations along each axis.
    away = rotations.angular_distance_deg(turns, mean.rotations[:, :1])
    spread = np.sqrt((shares * away**2).sum(axis=1) / 3.0)
    assert spread / mean.width_deg[:, 0] == pytest.approx(np.full(3, 0.8), abs=0.1)
    one = pose_lattice.octants(modes, scored, least_deg=20.0, n_most=8)
    assert one[2][:, 0] == pytest.approx(np.ones(3))
    assert rotations.angular_distance_deg(one[0][:, 0], mean.rotations[:, 0]).max() < 1e-6


def test_lattices_that_overlap__count_each_rotation_once():
    near = pose_search.rotation_neighbours(6.0, 2)[[0, 1]]
    modes, offsets = modes_at(near[None]), pose_lattice.lattice(5.0)
    kept = np.isfinite(pose_lattice.claimed(modes, offsets, np.zeros((1, 2, len(offsets)))))
    centre = len(offsets) // 2
    assert kept[0, :, centre].all()
    assert len(offsets) < kept.sum() < 2 * len(offsets)
    for one, other in ((0, 1), (1, 0)):
        turns = rotations.vector_rotation(offsets[kept[0, one]]) @ near[one]
        far = [rotations.angular_distance_deg(turns, near[c][None]) for c in (one, other)]
        assert (far[0] <= far[1] + 1e-6).all()


def test_rotations_of_vectors__are_rodrigues_of_any_size():
    rng = np.random.default_rng(0)
    axis, angle = rng.standard_normal((5, 3)), np.array([0.0, 1e-9, 0.1, 1.0, 3.0])
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turns = rotations.vector_rotation(axis * angle[:, None])
    assert np.abs(turns @ turns.swapaxes(1, 2) - np.eye(3)).max() < 1e-12
    assert np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)) == pytest.approx(angle, abs=1e-7)
    assert np.abs(np.einsum("mij,mj->mi", turns, axis) - axis).max() < 1e-12
    lattice = pose_search.rotation_neighbours(5.0, 3)
    cube = np.radians(5.0) * np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    assert np.abs(rotations.vector_rotation(cube) - lattice).max() < 1e-12
