"""Reproducible noise, masks, statistics and minimisers."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import masks, noise, optimise, radial, statistics
from cryoframe.numerics.fourier import fft2_centred


def test_streams__are_named_not_counted():
    first, again = noise.generator(1, 2, 3).standard_normal(5), noise.generator(1, 2, 3).standard_normal(5)
    np.testing.assert_array_equal(first, again)
    for other in (noise.generator(1, 3, 2), noise.generator(2, 2, 3), noise.generator(1, 2)):
        assert not np.array_equal(other.standard_normal(5), first)


def test_streams__with_negative_names__are_refused():
    with pytest.raises(InvalidInput, match="non-negative"):
        noise.generator(1, -2)


def test_coloured_noise__has_the_spectrum_asked_for():
    power = np.linspace(4.0, 0.5, 33)
    stack = noise.coloured_noise((64, 64), power, noise.generator(0), n_items=40)
    assert stack.dtype == np.float32
    spectrum = np.mean(
        [radial.radial_average(np.abs(fft2_centred(image)) ** 2) for image in stack.astype(float)], axis=0
    )
    n_samples = 40 * radial.shell_counts(64, n_dims=2) / 2
    # |F|² of Gaussian noise has a relative standard deviation of 1 per independent sample.
    assert np.all(np.abs(spectrum / 64**2 / power - 1.0)[1:] < 5 / np.sqrt(n_samples[1:]) + 0.01)


def test_coloured_noise__flat_spectrum__is_white():
    rng = noise.generator(4)
    image = noise.coloured_noise((31, 44), np.ones(1), rng)
    np.testing.assert_allclose(image, noise.white_noise((31, 44), noise.generator(4)), atol=2e-6)
    with pytest.raises(InvalidInput, match="non-negative"):
        noise.coloured_noise((8, 8), np.array([-1.0]), rng)


def test_circle_and_sphere__have_their_area_and_volume():
    assert masks.circular_mask(101, 40.0).sum() == pytest.approx(np.pi * 40**2, rel=0.01)
    assert masks.spherical_mask(61, 25.0).sum() == pytest.approx(4 / 3 * np.pi * 25**3, rel=0.01)
    moved = masks.circular_mask(21, 3.0, edge_px=2.0, centre_px=(5.0, 15.0))
    assert np.unravel_index(moved.argmax(), moved.shape)[0] in range(2, 9)
    assert moved[5, 15] == 1.0
    assert moved.dtype == np.float32


@pytest.mark.parametrize("n", [16, 17])
def test_face_window__is_zero_on_every_face_and_the_same_both_ways_from_the_middle(n):
    window = masks.face_window(n, 4.0)
    assert masks.faces_maximum(window) == 0.0
    assert window[n // 2, n // 2, n // 2] == 1.0
    line = window[n // 2, n // 2]
    reach = (n - 1) // 2
    assert np.array_equal(line[n // 2 - reach : n // 2 + 1][::-1], line[n // 2 : n // 2 + reach + 1])
    assert masks.faces_maximum(np.ones((4, 4, 4))) == 1.0
    with pytest.raises(InvalidInput):
        masks.face_window(n, -1.0)


def test_grow__by_whole_pixels__is_a_ball__and_shrinks_back():
    point = np.zeros((11, 11, 11), dtype=bool)
    point[5, 5, 5] = True
    ball = masks.grow(point, 3.0)
    np.testing.assert_array_equal(ball, masks.spherical_mask(11, 3.0) > 0)
    assert masks.grow(ball, -2.0).sum() < ball.sum()
    np.testing.assert_array_equal(masks.grow(ball, 0.0), ball)


def test_soft_edge__is_half_at_half_its_width():
    half = np.zeros((1, 20), dtype=bool)
    half[0, :5] = True
    edge = masks.soft_edge(half, 6.0)[0]
    assert np.all(edge[:5] == 1.0)
    assert edge[7] == pytest.approx(0.5)
    assert np.all(edge[10:] == 0.0)


def test_largest_component__drops_the_dust():
    binary = np.zeros((10, 10), dtype=bool)
    binary[1:4, 1:4] = True
    binary[7, 7] = True
    kept = masks.largest_component(binary)
    assert kept.sum() == 9
    np.testing.assert_array_equal(masks.largest_component(kept), kept)


def test_map_mask__threshold_growth_edge():
    volume = np.zeros((24, 24, 24), dtype=np.float32)
    volume[10:14, 10:14, 10:14] = 2.0
    volume[2, 2, 2] = 2.0
    mask = masks.map_mask(volume, 1.0, extend_px=2.0, edge_px=3.0, keep_largest=True)
    assert mask[12, 12, 15] == 1.0
    assert 0.0 < mask[12, 12, 17] < 1.0
    assert mask[12, 12, 18] == 0.0
    assert mask[2, 2, 2] == 0.0
    assert masks.map_mask(volume, 1.0)[2, 2, 2] == 1.0


def test_map_mask__of_nothing__is_refused():
    with pytest.raises(InvalidInput, match="mask is empty"):
        masks.map_mask(np.zeros((4, 4, 4)), 1.0)


def test_robust_sd__of_normal_deviates__ignores_outliers():
    values = np.random.default_rng(0).standard_normal(20000) * 3.0
    values[:200] = 1e6
    # 1 % of outliers on one side raise it by about 1.5 %; the rest is its own scatter.
    assert statistics.robust_sd(values) == pytest.approx(3.0, rel=0.04)
    assert statistics.robust_sd(values.reshape(100, 200), axis=0).shape == (200,)


def test_wilson__zero_of_ten_is_not_certainty():
    low = statistics.wilson_interval(0, 10)
    assert low.estimate == low.low == 0.0
    assert low.high > 0.2
    assert statistics.wilson_interval(10, 10).high == 1.0
    with pytest.raises(InvalidInput):
        statistics.wilson_interval(3, 2)
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        statistics.wilson_interval(1, 2, confidence=1.0)


def test_bootstrap__of_a_mean__is_as_wide_as_theory_says():
    values = np.random.default_rng(1).standard_normal(400)
    found = statistics.bootstrap_interval(values, lambda v: float(v.mean()), rng=np.random.default_rng(2))
    assert found.low < found.estimate < found.high
    # 2 × 1.96/√400, itself known to a few percent from 1000 resamples.
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20 * values.std(), rel=0.15)
    with pytest.raises(InvalidInput, match="no observations"):
        statistics.bootstrap_interval([], np.mean, rng=np.random.default_rng(0))


def test_running_moments__equal_those_of_all__also_merged():
    frames = np.random.default_rng(3).standard_normal((9, 4, 5)) + 1e6
    whole, left, right = statistics.RunningMoments(), statistics.RunningMoments(), statistics.RunningMoments()
    for i, frame in enumerate(frames):
        whole.add(frame)
        (left if i < 4 else right).add(frame)
    left.merge(right)
    left.merge(statistics.RunningMoments())
    for moments in (whole, left):
        assert moments.count == 9
        np.testing.assert_allclose(moments.mean, frames.mean(axis=0))
        np.testing.assert_allclose(moments.variance(), frames.var(axis=0, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(whole.variance(unbiased=False), frames.var(axis=0), rtol=1e-6)
    empty = statistics.RunningMoments()
    empty.merge(whole)
    np.testing.assert_allclose(empty.mean, whole.mean)
    with pytest.raises(InvalidInput, match="two or more"):
        statistics.RunningMoments().variance()


def _valley(x):
    return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)


@pytest.mark.parametrize("method", [optimise.minimise_simplex, optimise.minimise_powell])
def test_minimisers__find_rosenbrocks_valley(method):
    found = method(_valley, [-1.2, 1.0], step=[0.2, 0.2], tolerance=1e-6)
    assert found.converged
    np.testing.assert_allclose(found.position, [1.0, 1.0], atol=1e-3)
    assert found.value < 1e-6
    assert found.n_evaluations > 10


def test_simplex__says_when_it_ran_out_of_evaluations():
    assert not optimise.minimise_simplex(_valley, [-1.2, 1.0], step=0.1, max_evaluations=20).converged


def test_powell__stays_within_bounds__with_steps_of_either_sign():
    found = optimise.minimise_powell(_valley, [0.0, 0.0], step=[0.1, -0.1], bounds=[(-0.5, 0.5), (-2.0, 2.0)])
    assert -0.5 <= found.position[0] <= 0.5
    assert found.converged
    np.testing.assert_allclose(found.position, [0.5, 0.25], atol=1e-2)


def test_a_search_with_a_step_of_zero__is_refused():
    with pytest.raises(InvalidInput, match="steps not 0"):
        optimise.minimise_simplex(_valley, [0.0, 0.0], step=[1.0, 0.0])


def test_powell__from_outside_its_bounds__is_refused():
    with pytest.raises(InvalidInput, match="low < start < high"):
        optimise.minimise_powell(_valley, [3.0, 0.0], step=0.1, bounds=[(-1.0, 1.0), (-1.0, 1.0)])
