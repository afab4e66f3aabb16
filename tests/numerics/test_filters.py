"""Pass filters, B-factor and dose weights as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import filters, fourier, grids

K = np.linspace(0.0, 0.5, 501)


def test_low_pass__half_at_the_resolution__complement_of_high_pass():
    low = filters.low_pass(K, 5.0, edge_1_A=0.04)
    assert low[200] == pytest.approx(0.5)
    assert low[179] == 1.0
    assert low[221] == 0.0
    np.testing.assert_allclose(low + filters.high_pass(K, 5.0, edge_1_A=0.04), 1.0)


def test_band_pass__keeps_only_the_band():
    band = filters.band_pass(K, 20.0, 4.0)
    assert set(np.unique(band)) == {0.0, 1.0}
    assert band[50] == 0.0
    assert band[51] == 1.0
    assert band[250] == 1.0
    assert band[251] == 0.0


@pytest.mark.parametrize(("low", "high"), [(4.0, 20.0), (5.0, 5.0)])
def test_an_empty_band__is_refused(low, high):
    with pytest.raises(InvalidInput, match="low_A > high_A"):
        filters.band_pass(K, low, high)


def test_a_resolution_of_zero__is_refused():
    with pytest.raises(InvalidInput, match="more than 0 Å"):
        filters.low_pass(K, 0.0)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_filter_pass__removes_one_cosine_and_keeps_the_other(n_dims):
    n, pixel = 32, 2.0
    x = np.arange(n) / n
    slow, fast = np.cos(2 * np.pi * 3 * x), np.cos(2 * np.pi * 11 * x)
    array = np.broadcast_to(1.0 + slow + fast, (n,) * n_dims).astype(np.float32)
    at = n * pixel / 7.0
    low = filters.filter_pass(array, pixel_size_A=pixel, n_dims=n_dims, low_pass_A=at)
    high = filters.filter_pass(array, pixel_size_A=pixel, n_dims=n_dims, high_pass_A=at)
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, np.broadcast_to(1.0 + slow, array.shape), atol=1e-5)
    np.testing.assert_allclose(high, np.broadcast_to(fast, array.shape), atol=1e-5)


def test_filter_pass__non_square_stack():
    stack = np.random.default_rng(0).standard_normal((3, 20, 31)).astype(np.float32)
    assert filters.filter_pass(stack, pixel_size_A=1.0, n_dims=2, low_pass_A=4.0).shape == stack.shape
    np.testing.assert_allclose(filters.filter_pass(stack, pixel_size_A=1.0, n_dims=2), stack, atol=2e-6)


def test_b_factor__sharpening_undoes_blurring():
    volume = np.random.default_rng(1).standard_normal((16, 16, 16))
    blurred = filters.apply_b_factor(volume, 50.0, pixel_size_A=1.5, n_dims=3)
    assert blurred.std() < 0.9 * volume.std()
    np.testing.assert_allclose(filters.apply_b_factor(blurred, -50.0, pixel_size_A=1.5, n_dims=3), volume, atol=1e-10)


def test_gaussian__is_a_gaussian_in_real_space_too():
    n, sigma = 64, 0.05
    point = np.zeros((n, n))
    point[n // 2, n // 2] = 1.0
    transfer = filters.gaussian(grids.frequencies_1_A((n, n), 1.0, False), sigma)
    spread = filters.apply_transfer(point, transfer, n_dims=2)
    width = 1.0 / (2 * np.pi * sigma)
    expected = np.exp(-(grids.radius_px((n, n)) ** 2) / (2 * width**2)) / (2 * np.pi * width**2)
    np.testing.assert_allclose(spread, expected, atol=1e-6)


def test_whitening__makes_the_spectrum_flat__and_leaves_empty_samples_empty():
    np.testing.assert_allclose(filters.whitening(np.array([4.0, 0.0, 0.25])), [0.5, 0.0, 2.0])


def test_frame_weights__keep_the_noise_of_one_frame():
    weights = filters.frame_weights(K, np.arange(1, 41) * 1.2, 300.0)
    assert weights.shape == (40, 501)
    np.testing.assert_allclose((weights**2).sum(axis=0), 1.0)
    np.testing.assert_allclose(weights[:, 0], 1 / np.sqrt(40))
    assert weights[0, -1] > weights[-1, -1]


def test_frame_weights__do_not_care_for_a_common_exposure__nor_underflow():
    doses = np.arange(1, 6) * 2.0
    np.testing.assert_allclose(filters.frame_weights(K, doses, 300.0), filters.frame_weights(K, doses + 1e5, 300.0))


def test_frame_weights__applied_to_white_frames__leave_white_noise():
    rng = np.random.default_rng(3)
    frames = rng.standard_normal((12, 64, 64))
    weights = filters.frame_weights(grids.frequencies_1_A((64, 64), 1.0, False), np.arange(1, 13) * 3.0, 200.0)
    total = fourier.irfft2((fourier.rfft2(frames) * weights).sum(axis=0), (64, 64))
    # 4096 deviates of variance 1: the sample variance has a standard deviation of √(2/4096) = 0.022.
    assert total.var() == pytest.approx(1.0, abs=4 * 0.022)


def test_critical_dose__of_an_unknown_voltage__is_refused():
    with pytest.raises(InvalidInput, match="300 kV or 200 kV"):
        filters.critical_dose_e_A2(K, 120.0)
