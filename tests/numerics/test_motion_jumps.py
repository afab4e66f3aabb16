"""Frames beyond a jump are found, those that fit nowhere are told, noise neither holds frames nor moves them."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics import alignment, fourier, motion_jumps
from cryoframe.numerics.motion_jumps import Frames, Search, agreement, search

SHAPE, N = (96, 120), 12
HOW = Search(max_shift_px=8.0, likely_px=2.0)


def smooth(seed):
    k = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])[None])
    ft = fourier.rfft2(np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32))
    image = fourier.irfft2((ft * np.exp(-((k / 0.2) ** 2)) * (k > 0)).astype(np.complex64), SHAPE)
    return (image / image.std()).astype(np.float32)


def filmed(path, noise, *, seed=1, scenes=None, pattern=0.0):
    """Frames of a scene (one of two, by frame) that moves against `path`, with noise and a fixed pattern."""
    rng = np.random.default_rng(seed)
    still = pattern * rng.standard_normal(SHAPE)
    frames = []
    for f, shift in enumerate(path):
        scene = smooth(seed if scenes is None else scenes[f])
        moved = fourier.shift_images(scene, -np.asarray(shift, dtype=np.float64))
        frames.append(moved + still + noise * rng.standard_normal(SHAPE))
    weights = alignment.frequency_weights(SHAPE, pixel_size_A=1.0, b_factor_A2=20.0, low_A=60.0)
    return Frames(fourier.rfft2(np.array(frames, dtype=np.float32)), SHAPE, weights)


def drift(n=N, length=4.0):
    return np.linspace([0.0, 0.0], [length, -0.5 * length], n)


def jumped(at=4, by=(25.0, -18.0)):
    path = drift()
    path[at:] += by
    return path


def rms(found, path):
    error = found.shifts_px - found.shifts_px.mean(axis=0) - (path - path.mean(axis=0))
    return float(np.sqrt((error**2).mean()))


@pytest.mark.parametrize("at", [1, 4, 10])
@pytest.mark.parametrize("by", [(3.0, 2.0), (6.0, -5.0), (25.0, -18.0)])
def test_a_jump_of_any_length__is_found(at, by):
    path = jumped(at, by)
    frames = filmed(path, 4.0)
    found = search(frames, HOW)
    assert rms(found, path) < 0.5
    assert not agreement(frames, found.shifts_px).unfit.any()


def test_a_frame_that_was_elsewhere_and_two_jumps__are_found():
    path = drift()
    path[5] += (20.0, 11.0)
    path[8:] -= (14.0, 16.0)
    assert rms(search(filmed(path, 3.0), HOW), path) < 0.5


def test_without_looking_for_jumps__the_movie_says_that_it_does_not_fit(figure):
    frames = filmed(jumped(), 3.0)
    shifts = frames.aligned(None, HOW)
    told = agreement(frames, shifts)
    figure("agreement beyond a jump that was not found", f"{told.least:.2f}")
    assert told.unfit.tolist() == [True] * 4 + [False] * 8
    assert told.least < 0.3


@pytest.mark.parametrize("others", [[0, 1, 2], [11], [6]])
def test_frames_of_another_specimen__are_named(others, figure):
    scenes = [2 if f in others else 1 for f in range(N)]
    frames = filmed(drift(), 3.0, scenes=scenes)
    told = agreement(frames, search(frames, HOW).shifts_px)
    figure(f"agreement of frames {others}", f"{told.least:.2f}")
    assert np.flatnonzero(told.unfit).tolist() == others
    assert told.least < 0.5


@pytest.mark.parametrize("seed", range(6))
def test_frames_that_fit__are_not_doubted(seed):
    frames = filmed(drift(), 6.0, seed=seed)
    told = agreement(frames, drift() - drift().mean(axis=0))
    assert told.least > 0.7
    assert not told.unfit.any()
    assert told.frames.mean() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_noise__neither_moves_nor_is_doubted(seed):
    frames = filmed(drift(), 1.0, seed=seed)
    rng = np.random.default_rng(seed)
    noise = Frames(fourier.rfft2(rng.standard_normal((N, *SHAPE)).astype(np.float32)), SHAPE, frames.weights)
    found = search(noise, HOW)
    assert not found.shifts_px.any()
    assert found.n_running == 0
    assert not agreement(noise, found.shifts_px).unfit.any()


def test_noise_of_frames_that_are_summed__does_not_hold_them(figure):
    """Sums of neighbours share frames with what they are held against; their noise is alike where they lie."""
    path = drift(40, 8.0)
    slopes = []
    for seed in range(4):
        found = search(filmed(path, 14.0, seed=seed), HOW).shifts_px
        true = path - path.mean(axis=0)
        slopes.append(float((found * true).sum() / (true**2).sum()))
    figure("drift found over true drift at low signal", " ".join(f"{s:.2f}" for s in slopes))
    # Four movies, each known to some 0.05: held frames would give 0.
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.1)


def test_a_single_frame__agrees_with_itself():
    frames = filmed(drift(1), 1.0)
    assert agreement(frames, np.zeros((1, 2))).least == 1.0
    assert search(frames, HOW).shifts_px.tolist() == [[0.0, 0.0]]


def test_steps__are_told_from_drift():
    path = jumped()
    base = motion_jumps.jumps(path, 5.0)
    assert base[:4].tolist() == [[0.0, 0.0]] * 4
    assert base[4:] == pytest.approx(np.broadcast_to(path[4] - path[3], (8, 2)))
    assert not motion_jumps.jumps(drift(), 5.0).any()
