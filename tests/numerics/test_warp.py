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
@pytest.mark.parametrize(("run", "strength"), [(1, 4.0), (4, 0.1), (32, 0.015)])
def test_compiled_passes__equal_their_reference(shape, run, strength):
    image = white_noise((57, 62), generator(3))
    grid = strength * generator(4).standard_normal(shape).astype(np.float32)
    table, pad = warp.weights_and_slopes(), 25
    padded, out = np.empty((57 + 2 * pad, 62), np.float32), np.empty_like(image)
    for rows, columns in (
        (kernels.displace_rows, kernels.displace_columns),
        (kernels.displace_rows.py_func, kernels.displace_columns.py_func),
    ):
        # As Python once: it is slow.
        if run != 4 and rows is not kernels.displace_rows:
            continue
        rows(padded, image, grid, table, run, pad)
        np.testing.assert_allclose(padded[pad:-pad], warp.generic_displace(image, grid, 1), atol=2e-3)
        np.testing.assert_array_equal(padded[:pad], padded[57 : 57 + pad])
        columns(out, padded, grid, table, run, pad)
        between = padded[pad:-pad].copy()
        np.testing.assert_allclose(out, warp.generic_displace(between, grid, 0), atol=2e-3)


def test_runs__are_shorter_where_the_displacement_is_steep():
    assert warp._run_px(np.zeros((3, 3)), 100) == 32
    assert warp._run_px(np.array([[0.0, 1.0]]), 101) == 4
    assert warp._run_px(np.array([[0.0, 50.0]]), 101) == 1


def test_waves_under_smooth_motion__are_where_closed_form_says(figure):
    n = 512
    rng = generator(5)
    y, x = np.indices((n, n), dtype=np.float64)
    # As strong as beam-induced motion gets: 4 px over half a field of 512 px.
    nodes = np.linspace(0.0, n - 1.0, 33)
    v, u = nodes[:, None] * 2.0 * np.pi / n, nodes[None, :] * 2.0 * np.pi / n
    field = np.stack([2.0 * np.sin(u + 0.3) * np.cos(v), 2.0 * np.cos(u) * np.sin(v + 1.0)], axis=-1)
    shift = warp._field(field[..., 0], (n, n), y, x), warp._field(field[..., 1], (n, n), y, x)
    image, exact = np.zeros((n, n)), np.zeros((n, n))
    # Waves of whole periods up to two thirds of Nyquist in both directions.
    for kx, ky, phase in zip(rng.integers(-170, 171, 20), rng.integers(-170, 171, 20), rng.random(20), strict=True):
        turn = 2.0 * np.pi / n
        image += np.cos(turn * (kx * x + ky * y) + phase)
        exact += np.cos(turn * (kx * (x - shift[0]) + ky * (y - shift[1])) + phase)
    moved = warp.warp(image.astype(np.float32), field)
    error = float(np.sqrt(np.mean((moved - exact) ** 2)) / exact.std())
    figure("warp: RMS error up to two thirds of Nyquist", f"{error:.4f}")
    assert error < 0.01


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
