"""Weights by which one half predicts the other: right where signal is, nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import cross_validated_filter, fsc
from cryoframe.numerics.filters import filter_pass


def halves_with_signal_on_one_side(n=48, seed=2):
    rng = np.random.default_rng(seed)
    signal = 8.0 * filter_pass(
        rng.standard_normal((n, n, n)).astype(np.float32), pixel_size_A=1.0, n_dims=3, low_pass_A=5.0
    )
    signal *= np.arange(n) < n // 2
    return signal, [(signal + rng.standard_normal(signal.shape)).astype(np.float32) for _ in range(2)]


def test_filtered_half__is_nearer_to_the_truth_than_one_weighed_by_shells():
    """And the other half, which is all that the filter knows of the truth, foretells by how much."""
    signal, (first, second) = halves_with_signal_on_one_side()
    curve = fsc.fsc_curve(first, second, pixel_size_A=1.0)
    weights = cross_validated_filter.local_weights(first, second, curve.fsc)
    local = cross_validated_filter.apply(first, weights)
    by_shell = filter_pass(first, pixel_size_A=1.0, n_dims=3, low_pass_A=5.0)
    error, error_by_shell = (float(np.mean((part - signal) ** 2)) for part in (local, by_shell))
    assert error < 0.75 * error_by_shell
    foretold = float(np.mean((local - second) ** 2) - np.mean((signal - second) ** 2))
    assert foretold == pytest.approx(error, rel=0.3)


def test_noise__is_filtered_away():
    rng = np.random.default_rng(3)
    first, second = (rng.standard_normal((48, 48, 48)).astype(np.float32) for _ in range(2))
    curve = fsc.fsc_curve(first, second, pixel_size_A=1.0)
    weights = cross_validated_filter.local_weights(first, second, curve.fsc)
    # Chance correlations of the few lowest shells are left: less than a hundredth of the power.
    assert cross_validated_filter.apply(first, weights).var() < 0.01 * first.var()


def test_full_map__is_weighed_by_twice_the_data():
    _, (first, second) = halves_with_signal_on_one_side()
    curve = fsc.fsc_curve(first, second, pixel_size_A=1.0)
    weights = cross_validated_filter.local_weights(first, second, curve.fsc)
    half, full = (cross_validated_filter.apply(first, weights, of_full_map=f) for f in (False, True))
    assert half.var() < full.var() < first.var()


def test_weights__never_rise_again_once_a_place_is_lost():
    _, (first, second) = halves_with_signal_on_one_side()
    curve = fsc.fsc_curve(first, second, pixel_size_A=1.0)
    found = cross_validated_filter.local_weights(first, second, curve.fsc).weights
    lost = np.cumsum(found < 0.143, axis=0) > 0
    rises = np.diff(found, axis=0) > 0.0
    assert not (rises & lost[:-1]).any()
    assert found.min() >= 0.0
    assert found.max() < 1.0
