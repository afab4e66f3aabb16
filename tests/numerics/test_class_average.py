"""In-plane rotated references and class sums."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import class_average, fourier, interpolate, projection, rotations

N = 16


@pytest.fixture
def pictures():
    """Random pictures without the corners of the frequency square, that fade towards the border of their box."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:N, :N] - N // 2
    rough = fourier.fft2_centred((rng.standard_normal((3, N, N)) * np.exp(-(x**2 + y**2) / 9.0)).astype(np.float32))
    return fourier.ifft2_centred(rough * (class_average.radius(N) < 6)).astype(np.float32)


def test_unturned_reference__is_itself(pictures):
    points = interpolate.half_points(N)
    turned = class_average.rotate_references(class_average.prepare_references(pictures), np.zeros(1), points)
    # On the nodes of the grid nothing is interpolated, so the correction for interpolation shows as it is.
    profile = np.sinc((np.arange(N) - N // 2) / (2 * N)) ** 2
    exact = interpolate.at_points(fourier.fft2_centred(pictures / (profile[:, None] * profile)), points)
    assert np.abs(turned - exact).max() < 1e-4 * np.abs(exact).max()


def test_reference_turned_by_psi__is_the_projection_at_psi(pictures):
    """A flat map seen from above with in-plane angle psi: the two rooms turn the same way."""
    points = interpolate.half_points(N, r_max=6)
    flat = np.zeros((N, N, N), dtype=np.float32)
    flat[N // 2] = pictures[0]
    seen = projection.project_points(
        projection.prepare_volume(flat), rotations.euler_to_matrix([0.0], [0.0], [33.0]), points
    )
    turned = class_average.rotate_references(class_average.prepare_references(pictures[:1]), np.array([33.0]), points)
    assert np.abs(turned - seen).max() < 1e-4 * np.abs(seen).max()


def test_sums__are_the_adjoint_of_turning():
    rng = np.random.default_rng(2)
    points = interpolate.half_points(N)
    grid = (rng.standard_normal((1, 2 * N, N + 1)) + 1j * rng.standard_normal((1, 2 * N, N + 1))).astype(np.complex64)
    values = (rng.standard_normal((4, len(points))) + 1j * rng.standard_normal((4, len(points)))).astype(np.complex64)
    psi = np.array([0.0, 20.0, -77.0, 150.0])
    sums = class_average.empty_sums(1, N)
    class_average.add_images(
        sums, values, np.zeros(values.shape, np.float32), class_ids=np.zeros(4, int), psi_deg=psi, points=points
    )
    left = np.vdot(class_average.rotate_references(grid, psi, points), values).real
    right = np.vdot(grid, sums.numerator).real
    assert abs(left - right) < 1e-5 * np.linalg.norm(grid) * np.linalg.norm(values)


def test_compiled_sums__equal_generic_ones():
    rng = np.random.default_rng(3)
    points = interpolate.half_points(N)
    values = (rng.standard_normal((6, len(points))) + 1j * rng.standard_normal((6, len(points)))).astype(np.complex64)
    weights = rng.random((6, len(points))).astype(np.float32)
    arguments = {"class_ids": np.array([0, 2, 1, 1, 0, 2]), "psi_deg": rng.uniform(-180, 180, 6), "points": points}
    fast, slow = class_average.empty_sums(3, N), class_average.empty_sums(3, N)
    class_average.add_images(fast, values, weights, **arguments)
    class_average.generic_add_images(np, slow, values, weights, **arguments)
    assert np.abs(fast.numerator - slow.numerator).max() < 1e-5 * np.abs(slow.numerator).max()
    assert np.abs(fast.weight - slow.weight).max() < 1e-5 * slow.weight.max()


def test_average_of_turned_noisy_copies__is_the_picture(pictures):
    rng = np.random.default_rng(4)
    points, n_images, noise_power = interpolate.half_points(N), 400, 8.0
    psi = rng.uniform(-180, 180, n_images)
    reference = class_average.prepare_references(pictures[:1])
    values = class_average.rotate_references(reference, psi, points)
    scale = np.sqrt(noise_power / 2)
    noise = rng.normal(0, scale, values.shape) + 1j * rng.normal(0, scale, values.shape)
    halves = [class_average.empty_sums(2, N) for _ in range(2)]
    for parity, sums in enumerate(halves):
        rows = np.arange(n_images) % 2 == parity
        class_average.add_images(
            sums,
            ((values + noise)[rows] / noise_power).astype(np.complex64),
            np.full((rows.sum(), len(points)), 1 / noise_power, np.float32),
            class_ids=np.zeros(rows.sum(), int),
            psi_deg=psi[rows],
            points=points,
        )
    averages, ssnr = class_average.solve_classes(*halves)
    assert np.corrcoef(averages[0].ravel(), pictures[0].ravel())[0, 1] > 0.98
    assert ssnr[0, 1] > 100.0
    assert 0.0 <= 5.0 * ssnr[0, -2] < ssnr[0, 1]
    assert not averages[1].any()


def test_picture_off_centre__is_brought_back_step_by_step():
    y, x = np.mgrid[:32, :32] - 16
    blob = np.exp(-((x - 3) ** 2 + (y + 1) ** 2) / 8.0)[None].astype(np.float32)
    once = class_average.centred(blob, largest_px=2.0)[0]
    assert np.unravel_index(once.argmax(), once.shape) in {(15, 17), (16, 17)}
    twice = class_average.centred(class_average.centred(blob, largest_px=9.0))[0]
    assert np.unravel_index(twice.argmax(), twice.shape) == (16, 16)


def test_odd_boxes__are_refused():
    with pytest.raises(InvalidInput, match="even"):
        class_average.prepare_references(np.zeros((2, 5, 5), np.float32))
