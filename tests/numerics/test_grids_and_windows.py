"""Frequencies and radii, windows and tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoframe.errors import InvalidInput
from cryoframe.numerics import grids, windows


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (4, 5, 6)])
def test_frequency_axes__are_numpys_fftfreq(shape):
    raw = grids.frequency_axes_1_A(shape, 1.5, centred_half=False)
    np.testing.assert_allclose(raw[0].ravel(), np.fft.rfftfreq(shape[-1], 1.5))
    for axis, n in zip(raw[1:], reversed(shape[:-1]), strict=True):
        np.testing.assert_allclose(axis.ravel(), np.fft.fftfreq(n, 1.5))
    centred = grids.frequency_axes_1_A(shape, 1.5)
    np.testing.assert_allclose(centred[1].ravel(), np.fft.fftshift(np.fft.fftfreq(shape[-2], 1.5)))


def test_frequencies__length_of_the_vector__zero_at_the_centre():
    radius = grids.frequencies_1_A((8, 8), 2.0)
    assert radius.shape == (8, 5)
    assert radius[4, 0] == 0.0
    assert radius[4, 4] == pytest.approx(0.25)
    assert radius[7, 4] == pytest.approx(np.hypot(3 / 16, 4 / 16))


def test_radius_px__from_index_n_over_2_or_a_given_centre():
    assert grids.radius_px((5, 6))[2, 3] == 0.0
    assert grids.radius_px((5, 6), centre_px=(0, 0))[3, 4] == pytest.approx(5.0)
    assert grids.radius_px((4, 4, 4)).shape == (4, 4, 4)


@pytest.mark.parametrize(("shape", "pixel"), [((0, 4), 1.0), ((4, 4), 0.0), ((), 1.0), ((4, 4), float("nan"))])
def test_impossible_grids__are_refused(shape, pixel):
    with pytest.raises(InvalidInput, match="positive sizes"):
        grids.frequencies_1_A(shape, pixel)


def test_cosine_edge__one_half_zero__monotonic():
    edge = windows.cosine_edge(np.linspace(0, 10, 101), 3.0, 7.0)
    assert edge[30] == 1.0
    assert edge[50] == pytest.approx(0.5)
    assert edge[70] == pytest.approx(0.0, abs=1e-15)
    assert np.all(np.diff(edge) <= 0)


def test_cosine_edge__without_width__is_a_step_that_holds_its_border():
    np.testing.assert_array_equal(windows.cosine_edge(np.array([1.0, 2.0, 3.0]), 2.0, 2.0), [1, 1, 0])
    with pytest.raises(InvalidInput, match="stop >= start"):
        windows.cosine_edge(np.zeros(1), 2.0, 1.0)


def test_tukey__between_flat_and_hann():
    np.testing.assert_array_equal(windows.tukey(8, 0.0), np.ones(8))
    hann = windows.tukey(8, 1.0)
    np.testing.assert_allclose(hann, np.sin(np.pi * (np.arange(8) + 0.5) / 8) ** 2)
    half = windows.tukey(100, 0.5)
    np.testing.assert_allclose(half, half[::-1])
    assert np.all(half[25:75] == 1.0)
    assert windows.tukey_2d((4, 6), 0.2).shape == (4, 6)
    with pytest.raises(InvalidInput, match="fraction"):
        windows.tukey(8, 1.5)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.floats(0, 0.9))
def test_tiles__cover_every_pixel_and_stay_inside(ny, nx, tile, overlap):
    tile_shape = (min(tile, ny), min(tile, nx))
    placed = windows.tiles((ny, nx), tile_shape, overlap_frac=overlap)
    seen = np.zeros((ny, nx), dtype=int)
    for one in placed:
        assert 0 <= one.y_px <= ny - one.n_y
        assert 0 <= one.x_px <= nx - one.n_x
        seen[one.slices()] += 1
    assert seen.min() >= 1


def test_blend_weights__add_up_to_one():
    placed = windows.tiles((30, 41), (16, 16), overlap_frac=0.4)
    total = np.zeros((30, 41))
    for tile, weight in zip(placed, windows.blend_weights((30, 41), placed), strict=True):
        total[tile.slices()] += weight
    np.testing.assert_allclose(total, 1.0)


@pytest.mark.parametrize(("tile", "overlap"), [((9, 4), 0.0), ((4, 4), 1.0), ((0, 4), 0.0)])
def test_impossible_tiles__are_refused(tile, overlap):
    with pytest.raises(InvalidInput, match="tiles that fit"):
        windows.tiles((8, 8), tile, overlap_frac=overlap)
