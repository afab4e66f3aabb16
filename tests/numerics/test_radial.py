"""Shells of images and volumes in both layouts."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, radial


@pytest.mark.parametrize("n", [7, 8])
@pytest.mark.parametrize("n_dims", [2, 3])
def test_half_layout__counts_and_sums_like_the_full_one(n, n_dims):
    array = np.random.default_rng(0).standard_normal((n,) * n_dims)
    full = np.abs(np.fft.fftshift(np.fft.fftn(array))) ** 2
    half = np.abs((fourier.fft2_centred if n_dims == 2 else fourier.fft3_centred)(array)) ** 2
    np.testing.assert_allclose(radial.shell_counts(n, n_dims=n_dims), radial.shell_counts(n, n_dims=n_dims, half=False))
    np.testing.assert_allclose(radial.radial_sum(half), radial.radial_sum(full, half=False))
    np.testing.assert_allclose(radial.radial_average(half), radial.radial_average(full, half=False))


def test_shells__all_together__hold_every_sample():
    assert radial.shell_counts(10, n_dims=3, n_shells=20).sum() == 1000
    assert radial.shell_counts(9, n_dims=2, half=False, n_shells=20).sum() == 81


def test_unweighted_sum__counts_stored_samples_only():
    ones = np.ones((8, 5), dtype=np.float32)
    assert radial.radial_sum(ones, weighted=False, n_shells=12).sum() == 40
    assert radial.radial_sum(ones, n_shells=12).sum() == 64


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("n_dims", [2, 3])
def test_expand_then_average__gives_the_profile_back(half, n_dims):
    profile = np.arange(7.0) ** 2
    array = radial.expand_radial(profile, 12, n_dims=n_dims, half=half)
    assert array.shape == (*(12,) * (n_dims - 1), 7 if half else 12)
    np.testing.assert_allclose(radial.radial_average(array, half=half), profile)


def test_expand__interpolated__is_linear_in_the_radius():
    array = radial.expand_radial(np.arange(20.0), 16, n_dims=2, half=False, interpolate=True)
    assert array[8 + 3, 8 + 4] == pytest.approx(5.0)
    assert array[9, 9] == pytest.approx(np.sqrt(2.0))


def test_average_beyond_the_corner__is_zero():
    assert radial.radial_average(np.ones((4, 4)), half=False, n_shells=9)[-1] == 0.0


@pytest.mark.parametrize("shape", [(8, 8), (8, 6), (6,), (8, 7, 5)])
def test_shapes_that_have_no_shells__are_refused(shape):
    with pytest.raises(InvalidInput, match="no shells"):
        radial.radial_average(np.zeros(shape))
