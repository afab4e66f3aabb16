"""Peaks and the choice among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cryoframe.errors import InvalidInput
from cryoframe.numerics import peaks


def test_a_paraboloid__peaks_where_it_is_highest():
    y, x = np.indices((20, 30), dtype=np.float64)
    positions, values = peaks.local_maxima(5 - 0.1 * ((x - 12.3) ** 2 + (y - 7.8) ** 2), threshold=0.0)
    assert positions == pytest.approx(np.array([[12.3, 7.8]]))
    assert values[0] == pytest.approx(5 - 0.1 * (0.3**2 + 0.2**2))


def test_a_plateau__has_one_peak():
    image = np.zeros((9, 9))
    image[4, 4:6] = 1.0
    assert len(peaks.local_maxima(image, threshold=0.5)[0]) == 1


def test_tiny_images__have_no_peak_and_stacks_are_refused():
    assert len(peaks.local_maxima(np.ones((2, 5)), threshold=0)[0]) == 0
    with pytest.raises(InvalidInput, match="image"):
        peaks.local_maxima(np.ones((2, 5, 5)), threshold=0)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 40), st.just(2)), elements=st.floats(-50, 50)), st.floats(0.1, 30)
)
@settings(max_examples=80, deadline=None)
def test_kept_points__are_apart_and_every_other_is_near_a_better_one(points, distance):
    kept = peaks.keep_apart(points, distance)
    gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    among = gaps[np.ix_(kept, kept)][np.triu_indices(int(kept.sum()), 1)]
    assert np.all(among >= distance * (1 - 1e-9))
    for i in np.flatnonzero(~kept):
        assert gaps[i, :i][kept[:i]].min() < distance * (1 + 1e-9)


def test_matching__is_one_to_one():
    found = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 0.0]])
    truth = np.array([[0.5, 0.0], [20.0, 0.0]])
    assert peaks.match_points(found, truth, 2.0) == pytest.approx((1 / 3, 1 / 2))
    assert peaks.match_points(np.empty((0, 2)), truth, 2.0) == (0.0, 0.0)
