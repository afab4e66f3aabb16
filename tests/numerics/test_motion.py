"""Sums of moved frames, cropped spectra, defects."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, motion
from cryoframe.numerics._numba import motion as compiled


def noise(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_compiled_sum__equals_the_reference():
    rng = np.random.default_rng(2)
    ft = fourier.rfft2(noise((30, 24)))
    ramp_y, ramp_x = (np.exp(1j * rng.uniform(0, 6, n)).astype(np.complex64) for n in ft.shape)
    ring = rng.integers(0, 9, ft.shape).astype(np.int32)
    weight = rng.random(9).astype(np.float32)
    results = []
    for add in (motion.add_moved, compiled.add_moved, compiled.add_moved.py_func):
        plain, weighted = np.ones_like(ft), np.zeros_like(ft)
        add(plain, weighted, ft, ramp_y, ramp_x, weight, ring)
        results.append((plain, weighted))
    for other in results[1:]:
        assert np.allclose(results[0][0], other[0], atol=1e-4)
        assert np.allclose(results[0][1], other[1], atol=1e-4)


def test_frames_moved_by_whole_pixels__sum_as_rolled():
    frames = noise((3, 40, 50))
    shifts = np.array([[0, 0], [3, -2], [-5, 1]], dtype=np.float64)
    sums = motion.sum_aligned(frames, shifts, 1.0)
    plain, weighted = sums.image(sums.plain), sums.image(sums.weighted)
    expected = sum(np.roll(f, (int(dy), int(dx)), (0, 1)) for f, (dx, dy) in zip(frames, shifts, strict=True))
    assert plain == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(plain, weighted)


def test_weights_of_the_first_frames__are_larger_at_high_frequency_only():
    weights = motion.Dose(1.5, 0.0, 300.0).weights(np.linspace(0, 0.4, 50), 30)
    assert weights.shape == (30, 50)
    assert weights[:, 0] == pytest.approx(np.ones(30), abs=1e-5)
    assert weights[0, -1] > 2 > weights[-1, -1]
    assert (weights**2).sum(axis=0) == pytest.approx(np.full(50, 30.0), rel=1e-4)


def test_a_cropped_spectrum__is_the_low_passed_image():
    y, x = np.indices((64, 96))
    wave = np.cos(2 * np.pi * (3 * x / 96 - 2 * y / 64)).astype(np.float32)
    small = fourier.irfft2(motion.crop_spectrum(fourier.rfft2(wave), (32, 48)), (32, 48)) * (32 * 48) / (64 * 96)
    assert small == pytest.approx(wave[::2, ::2], abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 4000.0])
def test_dead_and_hot_pixels__are_found_and_mended_from_sound_ones(value):
    total = (1000 + 10 * noise((80, 90))).astype(np.float32)
    total[10, 20] = total[50, 60] = total[50, 61] = value
    defects = motion.find_defects(total)
    assert set(zip(*np.nonzero(defects), strict=True)) == {(10, 20), (50, 60), (50, 61)}
    source = motion.mending_sources(defects, np.random.default_rng(3))
    assert not defects.reshape(-1)[source].any()
    mended = motion.mend(total, defects, source)
    assert np.abs(mended[defects] - 1000).max() < 60
    assert np.array_equal(mended[~defects], total[~defects])


def test_a_wide_dark_particle__is_no_defect():
    y, x = np.indices((128, 128))
    total = (1000 + 10 * noise((128, 128)) - 300 * (np.hypot(x - 60, y - 70) < 12)).astype(np.float32)
    inside = np.hypot(x - 60, y - 70) < 9
    assert not motion.find_defects(total)[inside].any()


def test_movies_of_no_or_unequal_frames__are_refused():
    with pytest.raises(InvalidInput, match="no frames"):
        motion.sum_frames(lambda: [])
    with pytest.raises(InvalidInput, match="frame 1 has shape"):
        motion.sum_frames(lambda: [noise((4, 4)), noise((4, 5))])
    with pytest.raises(InvalidInput, match="frame 0"):
        motion.sum_frames(lambda: [np.full((4, 4), np.nan, dtype=np.float32)])


def test_dead_pixels_and_columns_of_few_counts__are_found():
    counts = np.random.default_rng(5).poisson(31.0, (300, 320)).astype(np.float32)
    counts[:, 77] = counts[12, 40] = counts[200, 5] = 0.0
    counts[90, :] *= 1.6
    defects = motion.find_defects(counts)
    assert defects[:, 77].all()
    assert defects[90].all()
    assert defects[12, 40]
    assert defects[200, 5]
    assert defects.sum() == 300 + 320 - 1 + 2
    source = motion.mending_sources(defects, np.random.default_rng(6))
    assert not defects.reshape(-1)[source].any()
