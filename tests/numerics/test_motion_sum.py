"""Frames moved by fields and summed: against exact shifts, against the plain-numpy loops, for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, motion, motion_sum
from cryoframe.numerics._numba import motion_sum as compiled
from cryoframe.numerics.motion_dose import N_CURVE, weighted_sums
from cryoframe.numerics.motion_sum import BLOCK, MovedSums, block_centres, combined
from cryoframe.numerics.warp import sinc_table

ONE = np.ones((1, 1), dtype=np.float32)


def noise(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fields(n_frames, shape, seed=2, size=3.0):
    grid = [-(-n // BLOCK) for n in shape]
    return np.random.default_rng(seed).uniform(-size, size, (n_frames, *grid, 2))


def everywhere(shifts, shape):
    grid = [-(-n // BLOCK) for n in shape]
    return np.broadcast_to(np.asarray(shifts, float)[:, None, None, :], (len(shifts), *grid, 2)).copy()


def summed(frames, shifts, *, weights=None, gain=ONE, n_threads=1):
    weights = np.ones((len(frames), 1), dtype=np.float32) if weights is None else weights
    sums = MovedSums(frames.shape[1:], weights)
    sums.add(frames, gain, shifts, 0, n_threads=n_threads)
    return sums


def images(sums):
    n = sums.totals.shape[0]
    curves = np.zeros((n, n, 4), dtype=np.float32)
    curves[range(n), range(n)] = 1.0
    return combined(sums, curves, sums.totals.shape[1:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("with_gain", [False, True])
@pytest.mark.parametrize("corner", [(0, 0), (BLOCK, 2 * BLOCK)])
def test_the_compiled_tile__equals_the_reference(dtype, with_gain, corner):
    shape = (2 * BLOCK + 9, 3 * BLOCK + 5)
    rng = np.random.default_rng(3)
    frames = rng.poisson(3.0, (2, *shape)).astype(dtype)
    gain = rng.uniform(0.8, 1.2, shape).astype(np.float32) if with_gain else ONE
    weights = rng.standard_normal((2, 3)).astype(np.float32)
    tile = [min(n - c, 2 * BLOCK) for n, c in zip(shape, corner, strict=True)]
    results = []
    for loop in (motion_sum.add_tile, compiled.add_tile):
        totals = np.ones((3, *tile), dtype=np.float32)
        loop(totals, frames, gain, fields(2, shape), sinc_table(), weights, np.array([BLOCK, *corner]))
        results.append(totals)
    # Rows are interpolated where they arrive, not where they start: neighbouring blocks of these wild fields differ.
    calm = np.abs(results[0] - results[1])[:, 16:48, 16:48]
    assert np.median(calm) < 1e-4
    smooth = everywhere([(1.3, -2.6), (-0.4, 0.9)], shape)
    for i, loop in enumerate((motion_sum.add_tile, compiled.add_tile)):
        results[i] = np.ones((3, *tile), dtype=np.float32)
        loop(results[i], frames, gain, smooth, sinc_table(), weights, np.array([BLOCK, *corner]))
    assert results[0] == pytest.approx(results[1], abs=2e-4)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
@pytest.mark.parametrize("with_gain", [False, True])
def test_binning__adds_pixels_up(factor, with_gain):
    frame = np.random.default_rng(4).poisson(2.0, (31, 47)).astype(np.uint8)
    gain = np.random.default_rng(5).uniform(0.5, 2.0, frame.shape).astype(np.float32) if with_gain else ONE
    small = motion_sum.binned(frame, gain, factor)
    expected = np.empty_like(small)
    motion_sum.bin_frame(expected, frame, gain, np.empty(47, dtype=np.float32))
    assert small.shape == (31 // factor, 47 // factor)
    assert small == pytest.approx(expected, rel=1e-5)
    whole = frame * gain
    assert small[0, 0] == pytest.approx(whole[:factor, :factor].sum(), rel=1e-5)


def test_the_compiled_blend__equals_the_reference():
    rng = np.random.default_rng(6)
    spectra = np.stack([fourier.rfft2(noise((30, 24), seed)) for seed in (1, 2)])
    along_y, along_x = (rng.uniform(1, 2, n).astype(np.float32) for n in spectra.shape[1:])
    curves = rng.random((3, 2, 64)).astype(np.float32)
    curves[1, 0] = 0.0
    step = np.array([63 / np.hypot(0.5, 0.5) / 30, 63 / np.hypot(0.5, 0.5) / 24])
    results = []
    for loop in (motion_sum.blend, compiled.blend):
        outs = np.zeros((3, *spectra.shape[1:]), dtype=np.complex64)
        loop(outs, spectra, along_y, along_x, curves, step)
        results.append(outs)
    assert np.abs(results[0] - results[1]).max() < 1e-3


def test_the_loops__have_as_many_taps_as_the_table():
    assert sinc_table().shape[1] == 10


def test_frames_that_do_not_move__sum_exactly():
    frames = np.random.default_rng(7).poisson(1.0, (5, 96, 150)).astype(np.uint8)
    sums = summed(frames, everywhere(np.zeros((5, 2)), (96, 150)))
    assert sums.totals[0] == pytest.approx(frames.sum(axis=0), abs=1e-5)
    assert images(sums)[0] == pytest.approx(frames.sum(axis=0), abs=1e-4)


def test_whole_pixels__are_a_roll_away_from_the_border():
    frames = noise((3, 128, 160))
    shifts = [(0, 0), (3, -2), (-5, 1)]
    total = summed(frames, everywhere(shifts, (128, 160))).totals[0]
    expected = sum(np.roll(f, (dy, dx), (0, 1)) for f, (dx, dy) in zip(frames, shifts, strict=True))
    assert total[8:-8, 8:-8] == pytest.approx(expected[8:-8, 8:-8], abs=1e-5)


@pytest.mark.parametrize("share_of_nyquist", [0.2, 0.5, 0.7, 0.85])
def test_waves__keep_amplitude_and_place_up_to_near_nyquist(share_of_nyquist, figure):
    shape, rng = (256, 320), np.random.default_rng(8)
    cycles = round(0.5 * share_of_nyquist * shape[1])
    shifts = rng.uniform(-4, 4, (24, 2))
    x = np.arange(shape[1])
    wave = [np.cos(2 * np.pi * cycles * (x + dx) / shape[1]) for dx, _ in shifts]
    frames = np.stack([np.broadcast_to(w, shape) for w in wave]).astype(np.float32)
    image = images(summed(frames, everywhere(shifts, shape)))[0]
    inner = image[16:-16, 16:-16] / 24
    expected = np.cos(2 * np.pi * cycles * x / shape[1])[16:-16]
    amplitude = float((inner * expected).mean() / (expected**2).mean())
    figure(f"amplitude kept at {share_of_nyquist} of Nyquist", f"{amplitude:.4f}")
    # 24 shifts do not meet all parts of a pixel alike; the mean response is given back, its spread is not.
    assert amplitude == pytest.approx(1.0, abs=0.01 if share_of_nyquist < 0.8 else 0.05)


def test_a_smooth_field__undoes_what_it_did():
    shape = (512, 512)
    y, x = np.indices(shape).astype(float)

    def scene(u, v):
        return np.cos(2 * np.pi * (u / 11 + v / 17)) + np.sin(2 * np.pi * (u / 23 - v / 7.3))

    def field(u, v):
        return 2.0 + 1.5 * (u / 512) ** 2 + 0.5 * v / 512, -1.0 + 1.0 * u * v / 512**2

    # The content that arrives at x is taken from x − d(x).
    by, bx = block_centres(shape)
    shifts = np.stack(field(*np.meshgrid(bx, by)), axis=-1)[None]
    u, v = x.copy(), y.copy()
    for _ in range(20):
        dx, dy = field(u, v)
        u, v = x + dx, y + dy
    frame = scene(u, v).astype(np.float32)[None]
    total = summed(frame, shifts).totals[0]
    off = np.abs(total - scene(x, y))[16:-16, 16:-16]
    # Blocks move as one: half a block from the middle this field differs by up to 0.2 px, on average 0.05 px.
    assert np.sqrt(np.mean(off**2)) < 0.08


def test_threads_and_portions__do_not_change_a_bit():
    frames = np.random.default_rng(9).poisson(1.0, (6, 300, 520)).astype(np.uint8)
    shifts, weights = fields(6, (300, 520), size=1.0), np.random.default_rng(1).random((6, 2)).astype(np.float32)
    one = summed(frames, shifts, weights=weights)
    two = summed(frames, shifts, weights=weights, n_threads=2)
    portions = MovedSums((300, 520), weights)
    for first in (0, 4):
        portions.add(frames[first : first + 4], ONE, shifts[first : first + 4], first)
    assert np.array_equal(one.totals, two.totals)
    assert np.array_equal(one.totals, portions.totals)


def test_few_sums__make_the_dose_weighted_sum_of_all_frames():
    dose, n_frames, pixel_A = motion.Dose(1.3, 2.0, 300.0), 24, 1.0
    split = weighted_sums(dose, n_frames, float(np.hypot(0.5, 0.5)) / pixel_A)
    assert split.frames.shape[1] <= 6
    k = np.linspace(0.0, np.hypot(0.5, 0.5) / pixel_A, N_CURVE)
    wanted = dose.weights(k, n_frames)
    assert np.abs(split.frames @ split.curves - wanted).max() < 6e-4 * np.abs(wanted).max()
    frames = noise((n_frames, 128, 192))
    sums = summed(frames, everywhere(np.zeros((n_frames, 2)), (128, 192)), weights=split.frames)
    (weighted,) = combined(sums, split.curves[None], (128, 192))
    sums = motion.sum_aligned(frames, np.zeros((n_frames, 2)), pixel_A, dose=dose)
    expected = sums.image(sums.weighted)
    assert np.abs(weighted - expected).max() < 5e-3 * expected.std()


def test_without_a_dose__there_is_the_plain_sum_only():
    split = weighted_sums(None, 7, 0.5)
    assert np.array_equal(split.frames, np.ones((7, 1)))
    assert np.array_equal(split.curves, np.ones((1, N_CURVE)))


def test_defects__are_those_of_the_reference():
    total = (1000 + 10 * noise((90, 101))).astype(np.float32)
    total[3, 4] = total[50, 100] = 5000.0
    total[89, 0] = 0.0
    expected = np.flatnonzero(np.abs(motion._difference(total, 920.0, 1080.0) - 0.5) > 80.0)
    found = np.empty(2, dtype=np.int64)
    limits = [np.float32(v) for v in (920.0, 1080.0, 0.5, 80.0)]
    assert compiled.unlike(found, total, *limits) == len(expected) == 3
    assert np.array_equal(found, expected[:2])
    assert np.array_equal(motion._unlike(total, (920.0, 1080.0), 0.5, 80.0), expected)


def test_what_does_not_fit__is_refused():
    sums = MovedSums((64, 64), np.ones((2, 1), dtype=np.float32))
    frames = np.zeros((2, 64, 64), dtype=np.uint8)
    with pytest.raises(InvalidInput, match="were given"):
        sums.add(frames, ONE, np.zeros((2, 5, 5, 2)), 0)
    with pytest.raises(InvalidInput, match="not finite"):
        sums.add(frames, ONE, np.full((2, 1, 1, 2), np.nan), 0)
