"""z-values of a matched filter: their tail in noise, the noise power beside particles, places in the micrograph."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import blob, matched_filter, peaks
from cryoframe.numerics.pick_scores import rank_quality, right_picks

PIXEL_A, DIAMETER_A = 2.0, 120.0


def coloured(seed, *, shape=(1200, 1000), rise=0.02):
    """Gaussian noise whose amplitude rises as 1/k towards low frequencies."""
    white = np.random.default_rng(seed).standard_normal(shape)
    k = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    factor = 1.0 + rise / np.maximum(k, 1.0 / max(shape))
    return np.fft.irfft2(np.fft.rfft2(white) * factor, s=shape).astype(np.float32)


def canvas_of(image, small_pixel_A=7.5):
    return matched_filter.prepare(image, PIXEL_A, small_pixel_A=small_pixel_A, margin_A=DIAMETER_A)


def test_tail_of_z_in_noise__is_that_of_a_gaussian_field(figure):
    found, expected = np.zeros(4), np.zeros(4)
    levels = (2.5, 3.0, 3.5, 4.0)
    for seed in range(12):
        canvas = canvas_of(coloured(seed))
        free = np.ones(canvas.image.shape, dtype=bool)
        power = matched_filter.noise_power(canvas, free)
        weight = blob.ball(canvas.ring_k_1_A, 0.5 * DIAMETER_A) / power
        weight[0] = 0.0
        z = matched_filter.z_map(canvas, weight, free)
        _, values = peaks.local_maxima(z, threshold=2.5)
        found += [np.sum(values > level) for level in levels]
        expected += [
            matched_filter.expected_maxima(level, weight=weight, power=power, canvas=canvas) for level in levels
        ]
    figure(
        "peaks of noise above z = 2.5, 3, 3.5, 4", f"{found.astype(int).tolist()}, theory {expected.round().tolist()}"
    )
    # Poisson, and 5 % for the grid on which maxima are looked for and the mirrored rim.
    assert np.all(np.abs(found - expected) < 3.0 * np.sqrt(expected) + 0.05 * expected + 1.0)


def test_several_sizes__make_no_more_chance_peaks_than_each_alone():
    n_found, n_expected = 0, 0.0
    for seed in range(20):
        found = blob.find_blobs(
            coloured(seed), PIXEL_A, blob.Search(DIAMETER_A, threshold=3.6, false_frac=1e9, distance_A=1.0)
        )
        n_found += len(found.z)
        n_expected += found.n_by_chance
    # Fewer than the sum over sizes, since these are alike; more than a fifth of it, since they are not the same.
    assert 0.2 * n_expected - 5 < n_found < n_expected + 3.0 * np.sqrt(n_expected) + 3


def test_noise_power__is_found_beside_particles():
    image = coloured(3)
    rng = np.random.default_rng(1)
    y, x = np.indices(image.shape)
    spoilt = image.copy()
    centres = rng.uniform(60, 940, (40, 2))
    for cx, cy in centres:
        spoilt[np.hypot(x - cx, y - cy) < 30] -= 3.0
    clean, crowded = canvas_of(image), canvas_of(spoilt)
    step = crowded.pixel_A / PIXEL_A
    yy, xx = np.indices(crowded.image.shape)
    gap = np.min([np.hypot(xx * step - cx, yy * step - cy) for cx, cy in centres], axis=0)
    truth = matched_filter.noise_power(clean, np.ones(clean.image.shape, dtype=bool))
    beside = matched_filter.noise_power(crowded, gap > 36)
    band = (clean.ring_k_1_A > 0.5 / DIAMETER_A) & (clean.ring_k_1_A < 4.0 / DIAMETER_A)
    assert np.median(np.abs(np.log(beside[band] / truth[band]))) < 0.15
    assert matched_filter.noise_power(crowded, gap > 1e9) is None


@pytest.mark.parametrize("small_pixel_A", [2.0, 5.0, 9.0])
def test_places_in_the_small_image__are_places_in_the_micrograph(small_pixel_A):
    y, x = np.indices((600, 500))
    image = -100.0 * np.exp(-((x - 211.0) ** 2 + (y - 333.0) ** 2) / (2 * 12.0**2))
    image += np.random.default_rng(2).standard_normal(image.shape)
    canvas = canvas_of((image + 0.2 * np.abs(image)).astype(np.float32), small_pixel_A)
    # Outliers are cut, so the blob is a plateau; it is symmetric all the same.
    smooth = matched_filter.z_map(canvas, np.exp(-((canvas.ring_k_1_A * 120.0) ** 2)))
    at, _ = peaks.local_maxima(smooth, threshold=2.0)
    assert canvas.to_A(at[:1])[0] == pytest.approx([211.0 * PIXEL_A, 333.0 * PIXEL_A], abs=2.0)


def test_average_precision__is_one_for_a_perfect_list_and_falls_with_false_picks():
    truth = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])
    perfect = rank_quality(right_picks(truth, truth, 1.0), np.array([3.0, 2.0, 1.0]), 3)
    assert perfect == (1.0, 1.0, 1.0)
    found = np.array([[0.0, 0.0], [50.0, 0.0], [10.0, 0.5], [10.2, 0.0]])
    right = right_picks(found, truth, 1.0)
    assert right.tolist() == [True, False, True, False]
    ranking = rank_quality(right, np.array([4.0, 3.0, 2.0, 1.0]), 3)
    assert ranking.average_precision == pytest.approx((1.0 + 2.0 / 3.0) / 3.0)
    assert ranking.best_f1 == pytest.approx(2 * 2 / 6)
    assert ranking.best_threshold == 2.0
