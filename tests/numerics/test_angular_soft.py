"""Sums over whole posteriors on the polar grid: as exhaustive sums of candidates; exponentials of rows."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import angular_search, angular_soft, angular_sums, masks, polar
from cryoframe.numerics._numba import angular_soft as fast
from cryoframe.numerics._numba import exponential

SIDE, BOX, N_IMAGES = 24, 32, 6
PRIOR = np.log([0.5, 0.3, 0.2])


def pictures(n, seed):
    rough = np.random.default_rng(seed).standard_normal((n, SIDE, SIDE)).astype(np.float32)
    return (rough * masks.circular_mask(SIDE, 0.2 * SIDE, edge_px=0.1 * SIDE)).astype(np.float32)


def within_orders(values, grid):
    """Values without the orders beyond those that a support holds: a mask's soft edge leaves 1e-4 of them."""
    series = np.fft.fft(polar.full_circle(values), axis=-1)
    series[..., grid.n_orders : grid.n_theta - grid.n_orders + 1] = 0.0
    return np.fft.ifft(series, axis=-1)[..., : grid.n_half].astype(np.complex64)


@pytest.fixture(params=[1, 2])
def question(request):
    grid = polar.make_grid(BOX, r_max=9, support_px=0.3 * BOX)
    rng = np.random.default_rng(4)
    table = angular_search.make_table(
        polar.sample(pictures(3, 5), grid), grid, [[0.0, 0.0], [1.5, 0.0], [-1.0, 2.0]], psi_stride=request.param
    )
    values = within_orders(polar.sample(pictures(N_IMAGES, 6), grid) * 0.002, grid)
    theta = 2.0 * np.pi * np.arange(grid.n_half) / grid.n_theta
    wave = 1.0 + 0.5 * np.cos(2.0 * theta + rng.uniform(0, 6, (N_IMAGES, 1, 1)))
    weights = (wave * rng.uniform(0.5, 1.0, (N_IMAGES, len(grid.rings), 1)) * 1e-5).astype(np.float32)
    targets = angular_search.Targets(values, weights, rng.normal(0, 1, (N_IMAGES, 2)))
    parts = angular_search.scores(targets, table)
    shift = angular_search.shift_prior(targets.centres_px, table, 2.0)
    found = angular_search.chosen(parts, table, PRIOR, shift, evidence_frac=0.7, n_most=10**4, depths=(80.0, 80.0))
    return targets, table, parts, shift, found


def weighed(question, rows):
    _, _, parts, shift, found = question
    return angular_soft.weigh(parts, rows, found, log_reference=PRIOR, log_shift=shift, evidence_frac=0.7)


def test_sums_over_all_poses__equal_exhaustive_ones(question):
    targets, table, _, _, found = question
    grid = table.grid
    assert found.lost.max() < 1e-6
    one, two = angular_sums.empty_sums(3, grid), angular_sums.empty_sums(3, grid)
    angular_sums.add(one, *targets[:2], found, grid=grid, shifts_px=table.shifts_px, half=np.zeros(N_IMAGES, int))
    soft = angular_soft.SoftSums(table, grid)
    for rows in (np.arange(4), np.arange(4, N_IMAGES)):
        soft.add(weighed(question, rows), targets.values[rows], targets.weights[rows])
    soft.finish(two)
    assert np.abs(one.numerator - two.numerator).max() < 1e-5 * np.abs(one.numerator).max()
    assert np.abs(one.weight - two.weight).max() < 1e-5 * one.weight.max()
    soft.finish(two)
    assert np.abs(one.weight - two.weight).max() < 1e-5 * one.weight.max()


def test_weights_and_translations__are_those_of_the_exhaustive_posterior(question):
    targets, table, _, _, found = question
    weights = weighed(question, np.arange(N_IMAGES))
    assert weights.flat.sum(axis=(0, 2)) == pytest.approx(np.ones(N_IMAGES), abs=1e-5)
    assert weights.total == pytest.approx(np.ones(N_IMAGES), abs=1e-5)
    moved = angular_search.image_shifts(found, table, targets.centres_px)
    exhaustive = np.bincount(found.image, weights=found.probability * (moved**2).sum(axis=1))
    assert angular_soft.variance(weights, table, targets.centres_px) == pytest.approx(exhaustive, rel=1e-5)


@pytest.mark.parametrize("as_python", [False, True])
def test_compiled_weights__equal_generic_ones(question, monkeypatch, as_python):
    if as_python:
        monkeypatch.setattr(fast, "_weigh", fast._weigh.py_func)
    rows = np.array([0, 3])
    quick = weighed(question, rows)
    monkeypatch.setattr(angular_soft, "native", lambda *_: None)
    slow = weighed(question, rows)
    for one, two in zip(quick, slow, strict=True):
        assert np.abs(one - two).max() < 1e-5 * np.abs(two).max()


@pytest.mark.parametrize("as_python", [False, True])
def test_exponentials_of_a_row__are_exact_to_single_precision(as_python):
    powers_below, lane_sum = exponential.powers_below, exponential.lane_sum
    if as_python:
        powers_below, lane_sum = powers_below.py_func, lane_sum.py_func
    values = np.concatenate([np.linspace(-84.0, 0.0, 1000), [-90.0, 1e-3, 0.5]]).astype(np.float32)
    n = exponential.padded(len(values))
    assert n % 16 == 0
    out, bits = np.full(n, 7.0, np.float32), np.empty(n, np.int32)
    powers_below(values, 0.0, 85.0, bits, out)
    truth = np.where(values > -85.0, np.exp(values.astype(np.float64)), 0.0)
    assert np.abs(out[: len(values)] - truth).max() < 4e-7
    some = truth > 1e-30
    # A float32 of -84 is known to 4e-6 itself once multiplied by log2(e).
    assert np.abs(out[: len(values)][some] / truth[some] - 1.0).max() < 1e-5
    assert (out[len(values) :] == 0.0).all()
    assert lane_sum(out, np.empty(16, np.float32)) == pytest.approx(truth.sum(), rel=1e-6)
