"""Power spectra of tiles: scale, layout, refusal of what has no spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import spectrum


def test_white_noise_of_variance_four__has_power_four_everywhere():
    noise = 2.0 * np.random.default_rng(1).standard_normal((1024, 900)).astype(np.float32)
    power = spectrum.tiled_power_spectrum(noise, 64)
    inner = power[4:-4, 3:-3]
    # Each sample averages some 900 half-dependent tiles: relative standard deviation below 6 %.
    assert inner.mean() == pytest.approx(4.0, rel=0.02)
    assert np.abs(inner / 4.0 - 1.0).max() < 6 * 0.06


def test_a_wave__peaks_at_its_frequency():
    y, x = np.mgrid[:512, :512]
    wave = np.cos(2 * np.pi * (10 * x - 6 * y) / 128).astype(np.float32)
    power = spectrum.tiled_power_spectrum(wave, 128)
    assert np.unravel_index(power.argmax(), power.shape) == (64 - 6, 10)


@given(st.integers(8, 3000), st.integers(8, 600), st.floats(0.0, 0.9))
@settings(max_examples=60, deadline=None)
def test_tiles__cover_the_length_and_overlap_as_asked(length, tile, overlap):
    if tile > length:
        return
    starts = spectrum.tile_starts(length, tile, overlap_frac=overlap)
    assert starts[0] == 0
    assert starts[-1] == length - tile
    assert np.all(np.diff(starts) <= np.ceil(tile * (1 - overlap)) + 1)


def test_half_and_full_layout__are_inverse():
    full = spectrum.tiled_power_spectrum(np.random.default_rng(2).standard_normal((64, 64)).astype(np.float32), 32)
    assert np.array_equal(spectrum.half_of_full(spectrum.full_of_half(full)), full)


def test_outliers__are_cut_at_six_deviations():
    noise = np.random.default_rng(3).standard_normal((200, 200)).astype(np.float32)
    noise[5, 7] = 1e4
    clipped = spectrum.clip_outliers(noise)
    assert 5.5 < clipped[5, 7] < 6.5
    assert np.array_equal(np.delete(clipped.ravel(), 5 * 200 + 7), np.delete(noise.ravel(), 5 * 200 + 7))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((128, 128), dtype=np.float32), "every pixel"),
        (np.full((128, 128), np.nan, dtype=np.float32), "not finite"),
        (np.ones((20, 128), dtype=np.float32), "at least 64"),
    ],
)
def test_images_without_statistics__are_refused_with_a_remedy(image, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        spectrum.check_image(image, smallest_px=64)
    assert caught.value.remedy
