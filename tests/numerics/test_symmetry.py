"""Point groups as sets of matrices, asymmetric units, pose errors, symmetrised maps."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import rotations, symmetry
from cryoframe.numerics._numba import symmetry as compiled_room

GROUPS = ["C1", "C2", "C7", "D1", "D2", "D5", "T", "O", "I", "I1", "I2", "I3", "I4"]


@pytest.mark.parametrize("group", GROUPS)
def test_products_and_inverses__stay_in_the_group(group):
    operators = symmetry.rotation_matrices(group)
    np.testing.assert_array_equal(operators[0], np.eye(3))
    for matrices in (np.swapaxes(operators, 1, 2), *(operators @ one for one in operators[:12])):
        distance = np.abs(matrices[:, None] - operators[None]).max(axis=(2, 3))
        assert np.all(distance.min(axis=1) < 1e-12)
        assert np.unique(distance.argmin(axis=1)).size == len(operators)


def test_names__ignore_case_and_space():
    np.testing.assert_array_equal(symmetry.rotation_matrices(" d2 "), symmetry.rotation_matrices("D2"))


@pytest.mark.parametrize("name", ["", "C0", "X2", "I5", "D", "C-1", "C1000", "Ih"])
def test_unknown_groups__are_refused(name):
    with pytest.raises(InvalidInput, match="unknown point group"):
        symmetry.rotation_matrices(name)


@pytest.mark.parametrize("group", GROUPS)
def test_asymmetric_unit__holds_exactly_one_image_of_every_direction(group):
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((200, 3))
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    operators = symmetry.rotation_matrices(group)
    images = np.einsum("gij,pj->pgi", operators, probes)
    inside = symmetry.asymmetric_unit(images.reshape(-1, 3), group).reshape(200, -1)
    np.testing.assert_array_equal(inside.sum(axis=1), 1)


@pytest.mark.parametrize("group", ["C1", "D2", "O", "I"])
def test_directions_in_the_asymmetric_unit__are_one_nth_of_the_sphere(group):
    order = len(symmetry.rotation_matrices(group))
    n_all, n_unit = len(rotations.sphere_grid(2.0)), len(symmetry.directions_in_asymmetric_unit(2.0, group))
    # The border is as long as the root of the area: the count may be off by so many directions.
    assert n_unit == pytest.approx(n_all / order, abs=4 * np.sqrt(n_all / order) / 2 + 1)


@pytest.mark.parametrize("group", ["C3", "D2", "T"])
def test_pose_error__does_not_see_the_symmetry(group):
    poses = rotations.random_rotations(20, np.random.default_rng(1))
    off = rotations.axis_rotation((1, 1, 0), 3.0) @ poses
    for operator in symmetry.rotation_matrices(group):
        np.testing.assert_allclose(symmetry.reduce_pose_error(off, poses @ operator, group), 3.0, atol=1e-6)
    assert symmetry.reduce_pose_error(poses[:1], poses[:1] @ symmetry.rotation_matrices(group)[1])[0] > 60.0


def _blob(n):
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    return np.exp(-((x - 3.0) ** 2 + (y - 2.0) ** 2 + (z + 1.0) ** 2) / 18.0).astype(np.float32)


@pytest.mark.parametrize("n", [16, 17])
def test_symmetrise__by_axes_along_the_grid__equals_flips(n):
    volume = _blob(n)
    flipped = volume[:, ::-1, ::-1]
    if n % 2 == 0:  # index i turns into n − i: the first row has no image in the box
        flipped = np.roll(flipped, 1, axis=(1, 2))
    expected = 0.5 * (volume + flipped)
    found = symmetry.symmetrise(volume, "C2")
    inner = slice(1, None)
    np.testing.assert_allclose(found[:, inner, inner], expected[:, inner, inner], atol=1e-6)
    assert found.dtype == np.float32


def test_symmetrise__twice_is_nearly_once__and_obeys_the_group():
    volume = _blob(25)
    once = symmetry.symmetrise(volume, "D3")
    twice = symmetry.symmetrise(once, "D3")
    assert np.corrcoef(once.ravel(), twice.ravel())[0, 1] > 0.995
    # V(g·x) = V(x): the density at the images of the blob's centre is equal.
    images = symmetry.rotation_matrices("D3") @ np.array([3.0, 2.0, -1.0])
    x, y, z = np.rint(images + 12).astype(int).T
    # Rounding a centre to a voxel moves it by up to √3/2 voxels, worth exp(−0.75/18) of the blob.
    np.testing.assert_allclose(once[z, y, x], once[z, y, x].mean(), rtol=0.06)


@pytest.mark.parametrize("n", [12, 13])
@pytest.mark.parametrize("group", ["C2", "C3", "O", "I"])
def test_symmetrise__compiled__equals_generic(n, group):
    volume = np.random.default_rng(0).standard_normal((n, n, n)).astype(np.float32)
    compiled, generic = symmetry.symmetrise(volume, group), symmetry.symmetrise(volume, group, fast=False)
    np.testing.assert_allclose(compiled, generic, atol=2e-6)


def test_symmetrise__compiled__equals_itself_as_python():
    volume = np.random.default_rng(1).standard_normal((5, 5, 5))
    operators, out = symmetry.rotation_matrices("D3"), np.empty((5, 5, 5))
    compiled_room.accumulate.py_func(volume, operators, out)
    np.testing.assert_allclose(out, compiled_room.symmetrise(volume, operators), atol=1e-12)


def test_symmetrise__of_a_box_that_is_no_cube__is_refused():
    with pytest.raises(InvalidInput, match="cube"):
        symmetry.symmetrise(np.zeros((4, 4, 5)), "C2")


def test_symmetrise__by_c1__is_a_copy():
    volume = _blob(8)
    copy = symmetry.symmetrise(volume, "C1")
    np.testing.assert_array_equal(copy, volume)
    assert copy is not volume
