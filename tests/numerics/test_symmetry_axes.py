"""Axes of a point group in a map that lies anyhow: found, laid on RELION's, and doubted where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import rotations, symmetry, symmetry_axes

SIDE = 24


def assembly(group, turn, centre_px, *, noise=0.0, n_lumps=5):
    """Lumps repeated by the group, then turned and moved; with white noise of a share of the map's deviation."""
    rng = np.random.default_rng(0)
    lumps = np.array([3.0, 1.0, 2.0]) + rng.normal(0.0, 3.0, (n_lumps, 3))
    places = np.einsum("gij,lj->gli", symmetry.rotation_matrices(group), lumps).reshape(-1, 3) @ turn.T + centre_px
    axis = np.arange(SIDE) - SIDE // 2
    profile = np.exp(-0.5 * ((axis - places[:, :, None]) / 1.2) ** 2)
    data = np.einsum("px,py,pz->zyx", *profile.transpose(1, 0, 2), optimize=True)
    return (data + noise * data.std() * rng.standard_normal(data.shape)).astype(np.float32)


@pytest.mark.parametrize("group", ["C2", "C4", "D2", "D3", "T", "O"])
def test_axes_of_a_turned_and_moved_assembly__are_found(group):
    turn = rotations.random_rotations(1, np.random.default_rng(3))[0]
    centre_px = np.array([0.7, -0.6, 0.4])
    axes = symmetry_axes.find_axes(assembly(group, turn, centre_px, noise=0.3), group, r_max=7)
    found = axes.rotation.T @ symmetry.rotation_matrices(group) @ axes.rotation
    wanted = turn @ symmetry.rotation_matrices(group) @ turn.T
    apart = [rotations.angular_distance_deg(found, operator).min() for operator in wanted]
    assert max(apart) < 2.0
    assert axes.least > 0.7
    assert axes.correlation > axes.elsewhere + 4.0 * axes.spread
    if not group.startswith("C"):
        assert np.abs(axes.centre_px - centre_px).max() < 0.15


def test_map_laid_on_its_axes__has_the_symmetry_and_is_the_assembly(figure):
    turn = rotations.random_rotations(1, np.random.default_rng(5))[0]
    axes = symmetry_axes.find_axes(assembly("D2", turn, np.array([0.5, 0.5, -0.8]), noise=0.3), "D2", r_max=7)
    laid = symmetry_axes.lay_on_axes(assembly("D2", turn, np.array([0.5, 0.5, -0.8])), axes, "D2")
    inner = laid[1:, 1:, 1:]
    for turned in (inner[:, ::-1, ::-1], inner[::-1, ::-1, :], inner[::-1, :, ::-1]):
        assert np.corrcoef(turned.ravel(), inner.ravel())[0, 1] > 0.999
    # Which of the three axes is which cannot be told: the permutations of x, y, z that keep the hand.
    swaps = [np.roll(np.eye(3), k, axis=0) for k in range(3)]
    swaps += [rotations.axis_rotation(axis, 90.0) for axis in np.eye(3)]
    same = [np.corrcoef(assembly("D2", swap, np.zeros(3)).ravel(), laid.ravel())[0, 1] for swap in swaps]
    figure("assembly laid on its axes, correlation with the upright one", f"{max(same):.4f}")
    assert max(same) > 0.98


def test_map_without_the_symmetry__is_doubted():
    data = assembly("C1", np.eye(3), np.zeros(3), n_lumps=20)
    # Not D2 or D3: an ellipsoid or a disc has them, and any compact map without detail nearly is one.
    for group in ("T", "O"):
        assert symmetry_axes.find_axes(data, group, r_max=7).least < 0.3


def test_no_axes_and_no_map__are_refused():
    with pytest.raises(InvalidInput, match="no axes"):
        symmetry_axes.find_axes(assembly("C2", np.eye(3), np.zeros(3)), "C1", r_max=7)
    with pytest.raises(InvalidInput, match="no density"):
        symmetry_axes.find_axes(np.zeros((SIDE,) * 3, np.float32), "C2", r_max=7)
