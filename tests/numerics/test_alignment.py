"""Registration by translation: sub-pixel truth, non-square frames, drift."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import alignment, fourier

SHAPE = (48, 80)


def smooth_noise(rng, shape=SHAPE):
    weights = alignment.frequency_weights(shape, pixel_size_A=1.0, b_factor_A2=15.0)
    return fourier.irfft2(fourier.rfft2(rng.standard_normal(shape).astype(np.float32)) * weights, shape)


def test_known_shift__is_found_to_a_hundredth_of_a_pixel():
    rng = np.random.default_rng(1)
    image = smooth_noise(rng)
    true = np.array([[3.37, -2.18], [-0.5, 0.25], [0.0, 0.0]])
    moved = np.stack([fourier.shift_images(image, -shift) for shift in true])
    found = alignment.register(
        fourier.rfft2(image),
        fourier.rfft2(moved),
        SHAPE,
        weights=alignment.frequency_weights(SHAPE, pixel_size_A=1.0),
        max_shift_px=8,
    )
    assert np.abs(found - true).max() < 0.01


def test_search__starts_from_a_given_place():
    image = smooth_noise(np.random.default_rng(2))
    moved = fourier.shift_images(image, np.array([12.3, 0.0]))[None]
    found = alignment.register(
        fourier.rfft2(image),
        fourier.rfft2(moved),
        SHAPE,
        weights=alignment.frequency_weights(SHAPE, pixel_size_A=1.0),
        max_shift_px=2,
        near_px=np.array([[-12.0, 0.0]]),
    )
    assert found[0] == pytest.approx([-12.3, 0.0], abs=0.01)


@pytest.mark.parametrize("n_running", [1, 3])
def test_drift_of_noisy_frames__is_recovered_on_a_non_square_field(n_running):
    rng = np.random.default_rng(3)
    image = smooth_noise(rng, (96, 160))
    image /= image.std()
    true = np.cumsum(rng.normal(0.0, 0.6, (16, 2)), axis=0)
    frames = np.stack([fourier.shift_images(image, -shift) for shift in true])
    frames += rng.normal(0.0, 3.0, frames.shape).astype(np.float32)
    found = alignment.frame_shifts(
        fourier.rfft2(frames),
        (96, 160),
        weights=alignment.frequency_weights((96, 160), pixel_size_A=1.0, b_factor_A2=15.0),
        max_shift_px=10,
        n_running=n_running,
    )
    residual = found - (true - true.mean(axis=0))
    # Running sums smear neighbouring frames' motion into each other; 0.6 px steps allow that much.
    assert np.sqrt((residual**2).mean()) < (0.12 if n_running == 1 else 0.35)


def test_single_frame__does_not_move():
    frames = fourier.rfft2(smooth_noise(np.random.default_rng(4)))[None]
    weights = alignment.frequency_weights(SHAPE, pixel_size_A=1.0)
    assert not alignment.frame_shifts(frames, SHAPE, weights=weights, max_shift_px=5).any()


def test_weights__count_mates_and_keep_to_the_band():
    weights = alignment.frequency_weights((8, 8), pixel_size_A=2.0, low_A=12.0, high_A=5.0)
    assert weights[0, 0] == 0.0
    assert weights[0, 1] == 0.0
    assert weights[0, 2] == 2.0
    assert weights[2, 0] == 1.0
    assert weights[4, 4] == 0.0


def test_transforms_of_another_shape__are_refused():
    with pytest.raises(InvalidInput, match="48 x 80"):
        alignment.register(
            np.zeros((48, 40), np.complex64),
            np.zeros((2, 48, 40), np.complex64),
            SHAPE,
            weights=np.ones((48, 41), np.float32),
            max_shift_px=3,
        )
