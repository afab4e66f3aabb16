"""Drawn motion: shapes, reproducibility, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import motion_model
from cryoframe.numerics.noise import generator

EDGES = np.arange(11) * 1.5
STILL = motion_model.MotionModel(
    drift_A_s=0.0, whole_early_A=0.0, local_early_A=0.0, local_steady_A=0.0, jitter_A=0.0, dome_A=0.0
)


def test_motion__can_be_asked_anywhere_and_gives_the_same_answer():
    one, two = (motion_model.draw_motion(motion_model.MotionModel(), EDGES, rng=generator(1, 2)) for _ in range(2))
    x, y = np.array([0.0, 1000.0, 3000.0]), np.array([500.0, 0.0, 2000.0])
    path = one.displacement_A(x, y)
    assert path.shape == (3, 10, 2)
    assert one.streak_A(x, y).shape == (3, 10, 2)
    assert one.height_A(x, y).shape == (3, 10)
    np.testing.assert_allclose(two.displacement_A(1000.0, 0.0), path[1], atol=1e-12)


def test_a_specimen_told_to_hold_still__does():
    still = motion_model.draw_motion(STILL, EDGES, rng=generator(1))
    assert not still.displacement_A(5.0, 6.0).any()
    assert not still.streak_A(5.0, 6.0).any()
    assert not still.height_A(5.0, 6.0).any()


def test_streaks__add_up_to_the_way_without_jitter():
    model = motion_model.MotionModel(jitter_A=0.0)
    drawn = motion_model.draw_motion(model, EDGES, rng=generator(3))
    way = drawn.displacement_A(100.0, 200.0)
    streaks = drawn.streak_A(100.0, 200.0)
    ends = np.concatenate([[[0.0, 0.0]], np.cumsum(streaks, axis=0)])
    # The mean over a frame lies between where it begins and where it ends.
    assert np.all((way - ends[:-1]) * (way - ends[1:]) <= 1e-12)


def test_impossible_motion__is_refused_by_name():
    with pytest.raises(InvalidInput, match="rates and lengths"):
        motion_model.MotionModel(early_e_A2=0.0)
    with pytest.raises(InvalidInput, match="do not grow"):
        motion_model.draw_motion(STILL, [0.0, 1.0, 1.0], rng=generator(1))
    with pytest.raises(InvalidInput, match="at least one frame"):
        motion_model.draw_motion(STILL, [0.0], rng=generator(1))
    with pytest.raises(InvalidInput, match="walk of -1"):
        motion_model.particle_walks(3, EDGES, rate_A4_e=-1.0, rng=generator(1))
    with pytest.raises(InvalidInput, match="streak"):
        motion_model.blur_transfer(np.zeros(3), np.zeros(3), np.zeros(3))
