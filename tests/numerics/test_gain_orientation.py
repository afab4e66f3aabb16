"""Which way round a gain reference lies, from uncorrected frames."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.numerics.camera_faults import Orientation, as_stored, gain_reference, orientations, oriented
from cryoframe.numerics.gain_orientation import fit_gain, in_words

SHAPE = (512, 512)


def raw_sum(gain, counts=24.0, seed=1):
    return np.random.default_rng(seed).poisson(counts / gain).astype(np.float32)


@pytest.fixture(scope="module")
def gain():
    return gain_reference(SHAPE, np.random.default_rng(2))


@pytest.mark.parametrize("way", orientations(), ids=str)
def test_each_orientation__is_found(way, gain, figure):
    fit = fit_gain(raw_sum(gain), as_stored(gain, way))
    figure(f"{in_words(way)}: correlation over that expected", f"{fit.correlations[fit.best] / fit.expected:.2f}")
    assert fit.best == way
    assert fit.is_turned == (way != Orientation())
    assert not fit.is_foreign
    assert fit.correlations[way] == pytest.approx(fit.expected, rel=0.15)


def test_frames_that_are_not_square__leave_four_orientations():
    gain = gain_reference((300, 512), np.random.default_rng(3))
    fit = fit_gain(raw_sum(gain), as_stored(gain, Orientation(2, True)))
    assert len(fit.correlations) == 4
    assert fit.best == Orientation(2, True)
    turned = fit_gain(raw_sum(gain), as_stored(gain, Orientation(1, False)))
    assert turned.best == Orientation(1, False)
    assert turned.is_turned


def test_chance__is_as_large_as_stated():
    gain = gain_reference(SHAPE, np.random.default_rng(4))
    found = [
        value / fit.scatter
        for seed in range(8)
        for fit in [fit_gain(np.random.default_rng(seed).poisson(24.0, SHAPE).astype(np.float32), gain)]
        for value in fit.correlations.values()
    ]
    # 64 values: the deviation of their standard deviation is 9 %.
    assert 0.7 < np.std(found) < 1.3


def test_a_reference_of_another_camera__is_foreign(gain):
    other = gain_reference(SHAPE, np.random.default_rng(5))
    fit = fit_gain(raw_sum(gain), other)
    assert fit.is_foreign
    assert not fit.is_turned


def test_the_inverse__is_recognised(gain):
    fit = fit_gain(raw_sum(gain), (1.0 / gain).astype(np.float32))
    assert fit.is_inverse
    assert not fit.is_turned


def test_an_even_reference__tells_nothing(gain):
    fit = fit_gain(raw_sum(gain), np.ones(SHAPE, dtype=np.float32))
    assert not any((fit.tells, fit.is_turned, fit.is_foreign, fit.is_inverse))


def test_dead_pixels__do_no_harm(gain):
    holed = gain.copy()
    holed[::37, ::41] = 0.0
    fit = fit_gain(raw_sum(gain), as_stored(holed, Orientation(3, True)))
    assert fit.best == Orientation(3, True)


def test_words__say_what_oriented_does():
    assert in_words(Orientation()) == "as it is"
    assert "anticlockwise" in in_words(Orientation(1, False))
    image = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(oriented(image, Orientation(0, True)), image[::-1])
    assert "reverse order" in in_words(Orientation(0, True))
