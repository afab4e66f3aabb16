"""Projection and insertion: equality of the two implementations, adjointness, threads."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import insertion, interpolate, projection, rotations

N = 16


@pytest.fixture
def volume_ft():
    rng = np.random.default_rng(1)
    return projection.prepare_volume(rng.standard_normal((N, N, N)).astype(np.float32))


@pytest.fixture
def poses():
    return rotations.random_rotations(7, np.random.default_rng(2))


def test_compiled_projection__equals_generic(volume_ft, poses):
    points = interpolate.half_points(N)
    generic = projection.generic_project_points(np, volume_ft, poses, points, padding=2)
    compiled = projection.project_points(volume_ft, poses, points)
    assert np.abs(compiled - generic).max() < 1e-5 * np.abs(generic).max()


def test_compiled_insertion__equals_generic(poses):
    rng = np.random.default_rng(3)
    points = interpolate.half_points(N)
    values = (rng.standard_normal((7, len(points))) + 1j * rng.standard_normal((7, len(points)))).astype(np.complex64)
    weights = rng.random((7, len(points))).astype(np.float32)
    placed = insertion.symmetric_rotations(poses, rotations.axis_rotation((0, 0, 1), 180.0)[None])
    one, two = insertion.empty_accumulator(N), insertion.empty_accumulator(N)
    insertion.generic_insert_points(np, one, values, weights, rotations=placed, points=points)
    insertion.insert_points(two, values, weights, rotations=placed, points=points)
    assert np.abs(one.numerator - two.numerator).max() < 1e-5 * np.abs(one.numerator).max()
    assert np.abs(one.weight - two.weight).max() < 1e-5 * one.weight.max()


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_insertion__is_the_adjoint_of_projection(poses, dtype):
    rng = np.random.default_rng(4)
    shape = (2 * N, 2 * N, N + 1)
    grid = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex128)
    shape = (7, N, N // 2 + 1)
    slices = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    accumulator = insertion.empty_accumulator(N, dtype=dtype)
    insertion.insert(slices, np.ones(shape, dtype=np.float32), poses, accumulator)
    left = np.vdot(projection.project(grid, poses), slices).real
    right = np.vdot(grid, accumulator.numerator.astype(np.complex128)).real
    assert abs(left - right) < 1e-6 * np.linalg.norm(grid) * np.linalg.norm(slices)


def test_weight_of_a_slice__is_conserved(poses):
    shape = (7, N, N // 2 + 1)
    accumulator = insertion.empty_accumulator(N, dtype=np.complex128)
    weights = np.random.default_rng(5).random(shape)
    insertion.insert(np.zeros(shape, dtype=np.complex128), weights, poses, accumulator)
    _, index = projection.slice_index(N)
    assert accumulator.weight.sum() == pytest.approx(weights.reshape(7, -1)[:, index].sum(), rel=1e-6)


def test_sums__are_bitwise_equal_for_any_number_of_threads(poses):
    numba = pytest.importorskip("numba")
    rng = np.random.default_rng(6)
    points = interpolate.half_points(N)
    values = (rng.standard_normal((7, len(points))) + 1j * rng.standard_normal((7, len(points)))).astype(np.complex64)
    weights = rng.random((7, len(points))).astype(np.float32)
    before, results = numba.get_num_threads(), []
    try:
        for n_threads in (1, 2, 4):
            numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
            accumulator = insertion.empty_accumulator(N)
            insertion.insert_points(accumulator, values, weights, rotations=poses, points=points)
            results.append(accumulator.numerator.tobytes() + accumulator.weight.tobytes())
    finally:
        numba.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_half_points__list_each_mate_pair_once():
    points = interpolate.half_points(8)
    both = {tuple(p) for p in points} | {tuple(-p) for p in points}
    disc = {(x, y) for x in range(-4, 5) for y in range(-4, 5) if x * x + y * y < 16}
    assert both == disc
    assert len(points) == (len(disc) + 1) // 2


def test_values_at_points__are_those_of_the_half_image():
    image = np.arange(8 * 5).reshape(8, 5)
    points = np.array([[0, 0], [3, -4], [1, 2]])
    assert interpolate.at_points(image, points).tolist() == [20, 3, 31]


def test_odd_or_oblong_volumes__are_refused_by_name():
    with pytest.raises(InvalidInput, match="even side"):
        projection.prepare_volume(np.zeros((5, 5, 5), dtype=np.float32))
    with pytest.raises(InvalidInput, match="n//2"):
        interpolate.check_half_volume(np.zeros((4, 4, 4), dtype=np.complex64))
    with pytest.raises(InvalidInput, match="cubic"):
        projection.project(np.zeros((4, 4, 3), dtype=np.complex64), np.eye(3)[None], interpolation="cubic")


@pytest.mark.gpu
def test_device_projection_and_insertion__equal_the_generic_ones(volume_ft, poses):
    cupy = pytest.importorskip("cupy", reason="no CuPy: the device kernels are compared where there is a GPU")
    rng = np.random.default_rng(7)
    points = interpolate.half_points(N)
    on_device = projection.project_points(cupy.asarray(volume_ft), cupy.asarray(poses), points)
    generic = projection.generic_project_points(np, volume_ft, poses, points, padding=2)
    assert np.abs(on_device.get() - generic).max() < 1e-5 * np.abs(generic).max()
    values = (rng.standard_normal((7, len(points))) + 1j * rng.standard_normal((7, len(points)))).astype(np.complex64)
    weights = rng.random((7, len(points))).astype(np.float32)
    host, device = insertion.empty_accumulator(N), insertion.empty_accumulator(N, xp=cupy)
    insertion.insert_points(host, values, weights, rotations=poses, points=points)
    insertion.insert_points(
        device, cupy.asarray(values), cupy.asarray(weights), rotations=cupy.asarray(poses), points=points
    )
    assert np.abs(host.numerator - device.numerator.get()).max() < 1e-4 * np.abs(host.numerator).max()
    assert np.abs(host.weight - device.weight.get()).max() < 1e-4 * host.weight.max()
