"""A sensor turned over against its reference: files that hold events lose and gain them as files of frames do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cryoframe.twin.workers import _resensed_events

SHAPE, N_INTERNAL, RATE = (24, 32), 2000, 0.05


def events(rng: np.random.Generator) -> list[NDArray[np.int32]]:
    """At most one event a pixel and internal frame, pixel by pixel, places in quarter pixels."""
    found = []
    for _ in range(N_INTERNAL):
        places = np.argwhere(rng.random(SHAPE) < RATE)
        found.append((4 * places + rng.integers(0, 4, places.shape)).astype(np.int32))
    return found


def test_events_of_a_turned_sensor__are_taken_where_it_is_blunter_and_added_where_it_is_keener() -> None:
    rng = np.random.default_rng(4)
    gain = (1.0 + 0.1 * rng.standard_normal(SHAPE)).astype(np.float32)
    ratio = gain / gain[::-1]
    before = events(rng)
    after = list(_resensed_events(before, ratio, 5, "s_00001"))
    assert len(after) == N_INTERNAL
    n_before, n_after = (sum(map(len, one)) for one in (before, after))
    expected = sum(float(ratio[one[:, 0] // 4, one[:, 1] // 4].sum()) for one in before)
    # Only |ratio − 1| of the events are drawn for.
    spread = np.sqrt(n_before * float(np.abs(ratio - 1.0).mean()))
    assert n_after == pytest.approx(expected, abs=4.0 * spread)
    assert n_after > 0.98 * n_before
    counts = np.zeros((2, *SHAPE))
    for which, one in enumerate((before, after)):
        rows, columns = np.concatenate(one).T // 4
        np.add.at(counts[which], (rows, columns), 1)
    # Counts of a pixel, 100, differ by what is drawn: 0.1·100 events at most in a typical pixel.
    left = counts[1] / counts[0] / ratio - 1.0
    assert float(left.mean()) == pytest.approx(0.0, abs=4.0 * float(left.std()) / np.sqrt(left.size))
    assert np.corrcoef((counts[1] / counts[0]).ravel(), ratio.ravel())[0, 1] > 0.9


def test_events_of_a_turned_sensor__come_pixel_by_pixel_once_an_internal_frame() -> None:
    rng = np.random.default_rng(6)
    ratio = np.full(SHAPE, 1.5, dtype=np.float32)
    for found in _resensed_events(events(rng), ratio, 5, "s_00001"):
        pixel = found[:, 0].astype(np.int64) // 4 * SHAPE[1] + found[:, 1] // 4
        assert np.all(np.diff(pixel) > 0)
        assert found.dtype == np.int32


def test_events_of_an_even_sensor__stay_as_they_are() -> None:
    before = events(np.random.default_rng(7))
    after = list(_resensed_events(before, np.ones(SHAPE, dtype=np.float32), 5, "s_00001"))
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
