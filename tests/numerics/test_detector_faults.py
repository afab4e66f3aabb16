"""Gain, defects, pedestal, orientation of files, and the routines that measure a camera."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import camera_faults as faults
from cryoframe.numerics import dqe
from cryoframe.numerics.noise import generator


def test_raw_times_gain__is_the_frame_again():
    gain = faults.gain_reference((60, 80), generator(1))
    frame = generator(2).random((60, 80), dtype=np.float32) + 1.0
    np.testing.assert_allclose(faults.raw_from(frame, gain) * gain, frame, rtol=1e-6)
    assert gain.mean() == pytest.approx(1.0, abs=1e-6)
    assert 0.01 < gain.std() < 0.05


def test_raw_counts_times_gain__are_flat_and_without_gain_are_not():
    gain = faults.gain_reference((256, 256), generator(3), pixel_sd_frac=0.05)
    rng = generator(4)
    n, mean = 60, 20.0
    raw = sum(
        faults.raw_counts(rng.poisson(mean, gain.shape).astype(np.uint16), gain, rng).astype(float) for _ in range(n)
    )
    kept = faults.kept_share(gain)
    assert raw.mean() == pytest.approx(n * mean * kept, rel=5.0 / np.sqrt(raw.sum()))
    corrected = raw * gain
    # Poisson counts of mean m·g_min/g times g: relative variance g/(m·g_min), nothing of the pattern left.
    shot = (gain / (n * mean * gain.min())).mean()
    assert (corrected / corrected.mean()).var() == pytest.approx(shot, rel=0.05)
    assert abs(np.corrcoef(corrected.ravel(), gain.ravel())[0, 1]) < 5.0 / 256
    assert np.corrcoef(raw.ravel(), gain.ravel())[0, 1] < -0.5


def test_orientations__are_eight_different_and_undone():
    image = np.arange(6.0).reshape(2, 3)
    seen = set()
    for orientation in faults.orientations():
        laid = faults.oriented(image, orientation)
        seen.add((laid.shape, laid.tobytes()))
        np.testing.assert_array_equal(faults.oriented(faults.as_stored(image, orientation), orientation), image)
        np.testing.assert_array_equal(faults.as_stored(laid, orientation), image)
    assert len(seen) == 8
    quarter = faults.oriented(image, faults.Orientation(1))
    np.testing.assert_array_equal(quarter, [[2.0, 5.0], [1.0, 4.0], [0.0, 3.0]])
    np.testing.assert_array_equal(faults.oriented(image, faults.Orientation(0, True)), image[::-1])


def test_wrong_orientation_of_the_gain__leaves_a_pattern_that_the_right_one_does_not():
    gain = faults.gain_reference((96, 96), generator(5))
    raw = faults.raw_from(np.ones((96, 96), np.float32), gain)
    right = faults.Orientation(3, True)
    stored = faults.as_stored(gain, right)
    left = {o: float((raw * faults.oriented(stored, o)).std()) for o in faults.orientations()}
    assert min(left, key=left.__getitem__) == right
    assert left.pop(right) < 1e-6 < 0.01 < min(left.values())


def test_defects__are_dead_hot_and_on_the_map():
    defects = faults.draw_defects((64, 48), generator(6), n_pixels=30, n_columns=2, n_hot=10, hot_counts=100.0)
    frame = np.full((64, 48), 7, np.uint8)
    faulty = faults.with_defects(frame, defects, generator(7))
    assert faulty.dtype == np.uint8
    assert frame.min() == 7
    assert not faulty[defects.dead].any()
    assert defects.dead.all(axis=0).sum() == 2
    np.testing.assert_array_equal(faulty[~defects.mask], 7)
    rows, columns = defects.hot.T
    alive = ~defects.dead[rows, columns]
    assert (faulty[rows, columns][alive] >= 7).all()
    extra = np.zeros(alive.sum())
    rng = generator(8)
    for _ in range(50):
        extra += faults.with_defects(np.zeros((64, 48)), defects, rng)[rows, columns][alive]
    expected = 50 * defects.hot_counts[alive]
    assert (np.abs(extra - expected) < 6.0 * np.sqrt(expected) + 1.0).all()
    bright = faults.Defects(defects.dead, defects.hot, np.full(10, 1e4, np.float32))
    assert faults.with_defects(frame, bright, generator(9)).max() == 255


def test_pedestal__drifts_as_a_random_walk_over_a_fixed_pattern():
    pedestal = faults.Pedestal(level_grey=50.0, drift_grey=0.5)
    frames = np.stack(list(pedestal.frames((40, 30), 400, generator(10))))
    assert frames.shape == (400, 40, 30)
    assert frames[0].mean() == pytest.approx(50.0, abs=1e-3)
    steps = np.diff(frames.mean(axis=(1, 2)))
    assert steps.std() == pytest.approx(0.5, rel=5.0 / np.sqrt(2 * 399))
    np.testing.assert_allclose(frames[-1] - frames[-1].mean(), frames[0] - frames[0].mean(), atol=1e-4)
    again = np.stack(list(pedestal.frames((40, 30), 400, generator(10))))
    np.testing.assert_array_equal(frames, again)


def test_ideal_edge__has_the_mtf_of_a_pixel():
    frequency = np.array([0.0, 0.1, 0.25, 0.5])
    image = dqe.slanted_edge((512, 160), slope=0.03)
    np.testing.assert_allclose(dqe.knife_edge_mtf(image, frequency), np.sinc(frequency), atol=0.01)


def test_white_noise__has_flat_power_of_its_variance():
    flats = generator(11).normal(5.0, 3.0, (4, 512, 512))
    noise = dqe.noise_power(flats, tile_px=64)
    assert noise.mean_grey == pytest.approx(5.0, abs=0.02)
    # 256 tiles; shell s has about 3·s independent samples in each.
    shells = np.arange(1, 33)
    assert (np.abs(noise.power_grey2[1:] / 9.0 - 1.0) < 5.0 / np.sqrt(3.0 * shells * 256)).all()
    assert noise.nnps[0] == 1.0
    assert noise.power_grey2[0] == pytest.approx(9.0, rel=0.05)


def test_impossible_input__is_refused():
    gain = np.ones((8, 8))
    with pytest.raises(InvalidInput, match="0, 1, 2 or 3"):
        faults.Orientation(4)
    with pytest.raises(InvalidInput, match="equal shapes"):
        faults.raw_counts(np.ones((4, 8), np.uint8), gain, generator(1))
    with pytest.raises(InvalidInput, match="reaches zero"):
        faults.gain_reference((64, 64), generator(1), pixel_sd_frac=0.6)
    with pytest.raises(InvalidInput, match="no block"):
        faults.gain_reference((64, 64), generator(1), n_blocks=0)
    with pytest.raises(InvalidInput, match="that fit"):
        faults.draw_defects((8, 8), generator(1), n_columns=9)
    with pytest.raises(InvalidInput, match="as the defects"):
        faults.with_defects(np.ones((4, 4)), faults.draw_defects((64, 64), generator(1)), generator(1))
    with pytest.raises(InvalidInput, match="no tile"):
        dqe.noise_power(np.ones((1, 32, 32)))
    with pytest.raises(InvalidInput, match="bright side on the left"):
        dqe.knife_edge_mtf(dqe.slanted_edge((64, 160))[:, ::-1], np.zeros(1))
    with pytest.raises(InvalidInput, match="places unseen"):
        dqe.knife_edge_mtf(dqe.slanted_edge((64, 160), slope=0.0), np.zeros(1))
    with pytest.raises(InvalidInput, match="rows"):
        dqe.knife_edge_mtf(np.ones((8, 160)), np.zeros(1))
    noise = dqe.NoisePower(np.zeros(3), np.ones(3), 1.0)
    with pytest.raises(InvalidInput, match="one frequency axis"):
        dqe.measured_dqe(np.ones(4), noise, 1.0)
