"""Displaced images: whole pixels, parts of pixels, deformations, compiled against reference."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.errors import InvalidInput
from cryoframe.numerics import fourier, warp
from cryoframe.numerics._numba import warp as kernels
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.noise import generator, white_noise


def uniform(dx: float, dy: float) -> np.ndarray:
    return np.broadcast_to(np.array([dx, dy]), (3, 4, 2)).copy()


def test_uniform_displacement_by_whole_pixels__equals_roll():
    image = white_noise((20, 24), generator(1))
    np.testing.assert_allclose(warp.warp(image, uniform(3.0, -2.0)), np.roll(image, (-2, 3), axis=(0, 1)), atol=1e-6)


def test_uniform_displacement_by_parts_of_pixels__equals_the_fourier_shift():
    noise = white_noise((96, 96), generator(2))
    # With its edge of three samples the band ends at two thirds of Nyquist.
    image = filter_pass(noise, pixel_size_A=1.0, n_dims=2, low_pass_A=3.2, edge_shells=3.0).astype(np.float32)
    shifted = fourier.shift_images(image, np.array([0.37, 1.62]))
    assert np.std(warp.warp(image, uniform(0.37, 1.62)) - shifted) < 0.01 * np.std(shifted)


def test_a_smooth_deformation__carries_each_place_by_its_own_displacement():
    n = 128
    y, x = np.indices((n, n), dtype=np.float64)
    grid = np.linspace(0.0, n - 1.0, 9)
    # A rotation of 0.01 rad about the middle: d = 0.01·(−(y − c), x − c).
    bend = np.stack(np.broadcast_arrays(-0.01 * (grid[:, None] - 63.5), 0.01 * (grid[None, :] - 63.5)), axis=-1)
    for place in ((30.0, 40.0), (90.0, 100.0)):
        blob = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 18.0).astype(np.float32)
        moved = warp.warp(blob, bend).astype(np.float64)
        found = np.array([np.sum(moved * x), np.sum(moved * y)]) / moved.sum()
        # It arrives at the x for which x − d(x) is where it was.
        turn = np.array([[1.0, 0.01], [-0.01, 1.0]])
        expected = 63.5 + np.linalg.solve(turn, np.array(place) - 63.5)
        # The first moment of the weights is that of the place within 0.0051 px.
        np.testing.assert_allclose(found, expected, atol=0.0051 * np.sqrt(2.0))


@pytest.mark.parametrize("shape", [(1, 1), (5, 3)])
def test_compiled_loop__equals_its_reference(shape):
    image = white_noise((17, 22), generator(3))
    grid = 4.0 * generator(4).standard_normal((*shape, 2)).astype(np.float32)
    table = warp.sinc_table()
    outs = [np.empty_like(image) for _ in range(3)]
    warp.displace(outs[0], image, grid, table)
    kernels.displace(outs[1], image, grid, table)
    kernels.displace.py_func(outs[2], image, grid, table)
    # A place on the edge between two entries of the table may fall to either.
    np.testing.assert_allclose(outs[1], outs[0], atol=5e-3)
    np.testing.assert_allclose(outs[2], outs[0], atol=5e-3)


def test_response__is_within_four_permille_up_to_two_thirds_of_nyquist():
    table = warp.sinc_table().astype(np.float64)
    place = np.arange(warp.STEPS + 1)[:, None] / warp.STEPS - (np.arange(2 * warp.REACH) - (warp.REACH - 1))
    frequency = np.linspace(0.0, 1.0 / 3.0, 50)
    response = np.einsum("sk,skf->sf", table, np.exp(2j * np.pi * place[..., None] * frequency))
    assert np.abs(response - 1.0).max() < 0.004
    assert np.abs(np.sum(table * place, axis=1)).max() < 0.0051


def test_weights__add_up_to_one_and_are_exact_on_pixels():
    table = warp.sinc_table()
    np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(table[0], np.eye(2 * warp.REACH)[warp.REACH - 1], atol=1e-7)
    np.testing.assert_allclose(table[-1], np.eye(2 * warp.REACH)[warp.REACH], atol=1e-7)


def test_wrong_displacements__are_refused_by_name():
    with pytest.raises(InvalidInput, match=r"\(gy, gx, 2\)"):
        warp.warp(np.zeros((8, 8), np.float32), np.zeros((3, 3)))
    with pytest.raises(InvalidInput, match="not finite"):
        warp.warp(np.zeros((8, 8), np.float32), np.full((2, 2, 2), np.nan))
