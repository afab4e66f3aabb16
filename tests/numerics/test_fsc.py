"""Correlation curves as arrays, and what is read from them."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, fsc, masks

N = 32


def _noise(seed, n_dims=3, n=N):
    return np.random.default_rng(seed).standard_normal((n,) * n_dims).astype(np.float32)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_a_map_with_itself__its_negative__and_a_multiple(n_dims):
    curve = fsc.fsc_curve if n_dims == 3 else fsc.frc_curve
    one = _noise(0, n_dims)
    np.testing.assert_allclose(curve(one, 3 * one, pixel_size_A=1.0).fsc, 1.0, atol=1e-6)
    np.testing.assert_allclose(curve(one, -one, pixel_size_A=1.0).fsc, -1.0, atol=1e-6)


def test_curve__has_frequencies_and_counts():
    curve = fsc.fsc_curve(_noise(0), _noise(1), pixel_size_A=2.0)
    np.testing.assert_allclose(curve.frequency_1_A, np.arange(17) / 64.0)
    radius = np.sqrt(sum(axis**2 for axis in np.mgrid[:N, :N, :N] - N // 2))
    counts = np.bincount(np.floor(radius + 0.5).astype(int).ravel())[:17]
    np.testing.assert_array_equal(curve.n_voxels, counts)


def test_fsc__equals_its_definition_on_the_full_transform():
    a, b = _noise(2, n=12), _noise(3, n=12)
    ft_a, ft_b = (np.fft.fftshift(np.fft.fftn(volume.astype(float))) for volume in (a, b))
    shell = np.floor(np.sqrt(sum(axis**2 for axis in np.mgrid[:12, :12, :12] - 6)) + 0.5).astype(int)
    for s in range(7):
        at = shell == s
        cross = np.sum(ft_a[at] * ft_b[at].conj()).real
        expected = cross / np.sqrt(np.sum(np.abs(ft_a[at]) ** 2) * np.sum(np.abs(ft_b[at]) ** 2))
        assert fsc.fsc_curve(a, b, pixel_size_A=1.0).fsc[s] == pytest.approx(expected, abs=1e-6)


def test_an_empty_shell__correlates_to_zero():
    curve, _ = fsc.fsc(np.zeros((8, 5), dtype=np.complex64), np.ones((8, 5), dtype=np.complex64))
    np.testing.assert_array_equal(curve, 0.0)


@pytest.mark.parametrize("shapes", [((8, 8, 8), (9, 9, 9)), ((8, 8, 6), (8, 8, 6)), ((8, 8), (8, 8))])
def test_wrong_boxes__are_refused(shapes):
    with pytest.raises(InvalidInput, match="cubes"):
        fsc.fsc_curve(np.zeros(shapes[0]), np.zeros(shapes[1]), pixel_size_A=1.0)
    with pytest.raises(InvalidInput, match="equal shapes"):
        fsc.fsc(np.zeros((8, 5)), np.zeros((6, 4)))


def test_resolution__by_linear_interpolation_of_the_first_crossing():
    found = fsc.resolution_at([0.0, 0.1, 0.2, 0.3, 0.4], [1.0, 0.9, 0.6, 0.4, 0.9], 0.5)
    assert found.how == "crossing"
    assert found.resolution_A == pytest.approx(4.0)


def test_resolution__never_below__is_nyquist__and_says_so():
    assert fsc.resolution_at([0.0, 0.1, 0.25], [0.0, 0.9, 0.8]) == (4.0, "never below")


def test_resolution__below_at_once__is_the_first_shell__and_says_so():
    assert fsc.resolution_at([0.0, 0.1, 0.25], [1.0, 0.1, 0.8]) == (10.0, "always below")


def test_resolution__an_undefined_value_counts_as_below():
    assert fsc.resolution_at([0.1, 0.2, 0.3], [1.0, float("nan"), 1.0]).how == "crossing"


@pytest.mark.parametrize(("frequency", "curve"), [([0.1, 0.2], [1.0]), ([0.0], [1.0])])
def test_resolution__of_no_curve__is_refused(frequency, curve):
    with pytest.raises(InvalidInput):
        fsc.resolution_at(frequency, curve)


def test_phase_randomised__keeps_amplitudes_and_low_shells():
    volume = _noise(4)
    mixed = fsc.phase_randomised(volume, beyond_shell=6, rng=np.random.default_rng(0))
    assert mixed.dtype == np.float32
    before, after = fourier.fft3_centred(volume), fourier.fft3_centred(mixed)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=2e-3 * np.abs(before).mean())
    curve = fsc.fsc_curve(volume, mixed, pixel_size_A=1.0)
    np.testing.assert_allclose(curve.fsc[:6], 1.0, atol=1e-5)
    # Σ cos of n/2 independent phases: standard deviation √(1/n) of the mean for n voxels in Hermitian pairs.
    assert np.all(np.abs(curve.fsc[6:]) < 5 / np.sqrt(curve.n_voxels[6:]))


def test_corrected_fsc__removes_the_masks_own_correlation():
    signal = np.array([1.0, 0.9, 0.8, 0.6, 0.3, 0.0])
    mask = np.array([0.0, 0.0, 0.3, 0.3, 0.3, 0.3])
    total = signal + mask * (1 - signal)
    np.testing.assert_allclose(fsc.corrected_fsc(total, mask, beyond_shell=2, guard=0), signal)
    kept = fsc.corrected_fsc(total, mask, beyond_shell=2)
    np.testing.assert_allclose(kept[:4], total[:4])
    np.testing.assert_allclose(kept[4:], signal[4:])


def test_mask__is_multiplied_with_both():
    a, b, mask = _noise(5), _noise(6), masks.spherical_mask(N, 8, edge_px=3)
    with_mask = fsc.fsc_curve(a, b, pixel_size_A=1.0, mask=mask)
    np.testing.assert_allclose(with_mask.fsc, fsc.fsc_curve(a * mask, b * mask, pixel_size_A=1.0).fsc)


def test_ssnr_and_fsc__are_each_others_inverse():
    curve = np.array([0.0, 0.143, 0.5, 0.9])
    np.testing.assert_allclose(fsc.fsc_from_ssnr(fsc.ssnr_from_fsc(curve)), curve)
    np.testing.assert_allclose(fsc.ssnr_from_fsc(curve, of_full_map=True), 2 * fsc.ssnr_from_fsc(curve))
    assert fsc.ssnr_from_fsc(-0.3) == 0.0


def test_guinier__finds_the_b_factor_put_in():
    k = np.linspace(0, 0.5, 60)
    line = fsc.guinier_b_factor(k, 7.0 * np.exp(-120.0 * k**2 / 4), low_A=10.0, high_A=2.5)
    assert line.b_factor_A2 == pytest.approx(120.0)
    assert line.intercept == pytest.approx(np.log(7.0))
    assert line.correlation == pytest.approx(-1.0)
    assert fsc.guinier_b_factor(k, np.full(60, 2.0)).correlation == 0.0


def test_guinier__of_too_few_shells__is_refused():
    with pytest.raises(InvalidInput, match="two shells"):
        fsc.guinier_b_factor([0.0, 0.2], [1.0, 1.0])
