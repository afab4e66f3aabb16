"""Kernels of projection, insertion, pose scores and class sums give the same as plain Python and compiled."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import class_average, insertion, interpolate, pose_search, projection, rotations
from cryoframe.numerics._numba import class_average as class_kernels
from cryoframe.numerics._numba import insertion as insertion_kernels
from cryoframe.numerics._numba import pose_search as pose_kernels
from cryoframe.numerics._numba import projection as projection_kernels

N = 8


@pytest.fixture
def world():
    rng = np.random.default_rng(1)
    volume_ft = projection.prepare_volume(rng.standard_normal((N, N, N)).astype(np.float32))
    points = interpolate.half_points(N)
    values = (rng.standard_normal((3, len(points))) + 1j * rng.standard_normal((3, len(points)))).astype(np.complex64)
    weights = rng.random((3, len(points))).astype(np.float32)
    return volume_ft, rotations.random_rotations(3, rng), points, values, weights


@pytest.fixture
def as_python(monkeypatch):
    """Replace the kernels by the Python they are made from."""
    for module, names in (
        (projection_kernels, ("_slices", "read_at")),
        (insertion_kernels, ("_insert", "_spread_plane")),
        (pose_kernels, ("_local_scores", "_shift_table", "_read_slice", "_products", "_add_energy")),
        (class_kernels, ("_add",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).py_func)


def test_projection__as_python(world, as_python):
    volume_ft, poses, points, _, _ = world
    generic = projection.generic_project_points(np, volume_ft, poses, points, padding=2)
    assert np.abs(projection.project_points(volume_ft, poses, points) - generic).max() < 1e-5 * np.abs(generic).max()


def test_insertion__as_python(world, as_python):
    _, poses, points, values, weights = world
    one, two = insertion.empty_accumulator(N), insertion.empty_accumulator(N)
    insertion.insert_points(one, values, weights, rotations=poses, points=points)
    insertion.generic_insert_points(np, two, values, weights, rotations=poses[:, None], points=points)
    assert np.abs(one.numerator - two.numerator).max() < 1e-5 * np.abs(two.numerator).max()
    assert np.abs(one.weight - two.weight).max() < 1e-5 * two.weight.max()


def test_pose_scores__as_python(world, as_python):
    volume_ft, poses, points, values, weights = world
    targets = pose_search.Targets(values, weights, points, N)
    start = pose_search.Poses(poses[:, None], np.full((3, 1, 2), 0.3), np.array([[0.0], [-np.inf], [0.0]]))
    arguments = {
        "neighbours": pose_search.rotation_neighbours(4.0, 2),
        "shifts_px": pose_search.shift_grid(1.0, 1.0),
        "padding": 2,
    }
    cross, square = pose_kernels.local_scores(np, volume_ft, targets, start, **arguments)
    slow_cross, slow_square = pose_search.generic_local_scores(np, volume_ft, targets, start, **arguments)
    assert not cross[1].any()
    assert np.abs(cross - slow_cross)[[0, 2]].max() < 1e-4 * np.abs(slow_cross).max()
    assert np.abs(square - slow_square)[[0, 2]].max() < 1e-4 * slow_square.max()


def test_class_sums__as_python(world, as_python):
    _, _, points, values, weights = world
    one, two = class_average.empty_sums(2, N), class_average.empty_sums(2, N)
    arguments = {"class_ids": np.array([0, 1, 0]), "psi_deg": np.array([0.0, 100.0, -30.0]), "points": points}
    class_average.add_images(one, values, weights, **arguments)
    class_average.generic_add_images(np, two, values, weights, **arguments)
    assert np.abs(one.numerator - two.numerator).max() < 1e-5 * np.abs(two.numerator).max()
    assert np.abs(one.weight - two.weight).max() < 1e-5 * two.weight.max()
