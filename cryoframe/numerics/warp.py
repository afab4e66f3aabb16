"""Images moved by a smooth field of displacements, as a specimen that deforms; uniform shifts are in fourier.

References
----------
Kaiser's window: Kaiser & Schafer, IEEE Trans. Acoust. 28, 105 (1980), doi 10.1109/TASSP.1980.1163349.
"""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats, Reals, native

#: Pixels on either side that a value is taken from.
REACH = 5
#: Parts of a pixel that weights are tabulated for; a rounding of 1/2048 px.
STEPS = 1024
#: Shape of the window; along an axis the response stays within 0.4 % of 1 up to two thirds of Nyquist, then drops.
_BETA = 5.0
#: Pixels that share weights, and what their displacements may differ by from the first to the last.
_LONGEST_RUN = 32
_MOST_CHANGE_PX = 0.06


def sinc_table() -> F32:
    """Weights `(STEPS + 1, 2·REACH)` of the pixels around a place, by its part of a pixel; each row adds up to 1."""
    part = np.arange(STEPS + 1)[:, None] / STEPS
    distance = part - (np.arange(2 * REACH)[None, :] - (REACH - 1))
    inside = np.clip(1.0 - (distance / REACH) ** 2, 0.0, 1.0)
    weights = np.sinc(distance) * np.i0(_BETA * np.sqrt(inside)) * (inside > 0.0)
    table: F32 = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return table


def weights_and_slopes() -> F32:
    """Weights of :func:`sinc_table` and, beside them, their change per pixel, `(STEPS + 1, 4·REACH)`."""
    table = sinc_table().astype(np.float64)
    slopes = np.gradient(table, 1.0 / STEPS, axis=0, edge_order=2)
    both: F32 = np.concatenate([table, slopes], axis=1).astype(np.float32)
    return both


def _field(grid: Floats, shape: tuple[int, int], rows: Floats, columns: Floats) -> Reals:
    """Values of a grid that spans an image, linear in between, constant beyond, at places of it."""
    gy, gx = grid.shape
    v = np.clip(rows, 0.0, shape[0] - 1.0) * (gy - 1) / max(shape[0] - 1, 1)
    u = np.clip(columns, 0.0, shape[1] - 1.0) * (gx - 1) / max(shape[1] - 1, 1)
    i, j = np.minimum(v.astype(int), max(gy - 2, 0)), np.minimum(u.astype(int), max(gx - 2, 0))
    v, u = v - i, u - j
    below, right = np.minimum(i + 1, gy - 1), np.minimum(j + 1, gx - 1)
    top = grid[i, j] * (1.0 - u) + grid[i, right] * u
    bottom = grid[below, j] * (1.0 - u) + grid[below, right] * u
    values: Reals = np.asarray(top * (1.0 - v) + bottom * v, dtype=np.float64)
    return values


def generic_displace(image: F32, grid_px: F32, axis: int) -> F32:
    """Reference of one compiled pass: ``out(x) = image(x − d(x))`` along an axis, weights at the very place."""
    indices: Reals = np.indices(image.shape, dtype=np.float64)
    rows, columns = indices[0], indices[1]
    place = (rows, columns)[axis] - _field(grid_px, (image.shape[0], image.shape[1]), rows, columns)
    whole = np.floor(place).astype(int)
    table = sinc_table().astype(np.float64)
    part = (place - whole) * STEPS
    entry = np.minimum(part.astype(int), STEPS - 1)
    fine = (part - entry)[..., None]
    weights = table[entry] * (1.0 - fine) + table[entry + 1] * fine
    moved = np.zeros(image.shape)
    for tap in range(2 * REACH):
        at = (whole + tap - REACH + 1) % image.shape[axis]
        moved += weights[..., tap] * np.take_along_axis(image, at, axis=axis)
    return moved.astype(np.float32)


def _along_rows(displacement_px: Reals, shape: tuple[int, int]) -> Reals:
    """Grid `(gy, gx)` of what the first pass moves: dx at the place that the second takes its row from.

    out(x, y) = tmp(x, y − dy(x, y)), so that tmp at a row must already be moved by the dx of the row it goes to.
    """
    gy, gx, _ = displacement_px.shape
    rows, columns = np.meshgrid(
        np.linspace(0.0, shape[0] - 1.0, gy), np.linspace(0.0, shape[1] - 1.0, gx), indexing="ij"
    )
    arrives = rows
    for _ in range(4):
        arrives = rows + _field(displacement_px[..., 1], shape, arrives, columns)
    return _field(displacement_px[..., 0], shape, arrives, columns)


def _run_px(grid: Floats, n_columns: int) -> int:
    """Pixels that may share weights: the displacement changes by at most `_MOST_CHANGE_PX` over a run."""
    steepest = float(np.abs(np.diff(grid, axis=1)).max(initial=0.0)) * max(grid.shape[1] - 1, 1) / max(n_columns - 1, 1)
    run = _LONGEST_RUN
    while run > 1 and steepest * run > _MOST_CHANGE_PX:
        run //= 2
    return run


def warp(image: F32, displacement_px: Reals) -> F32:
    """Move the content of a periodic image by a displacement that varies slowly over it.

    Parameters
    ----------
    image
        `(ny, nx)`.
    displacement_px
        `(gy, gx, 2)` (dx, dy) on an even grid from the first to the last pixel of each axis, linear in between; content
        at x goes to x + d. Take the uniform part out first and apply it in Fourier space, which is exact.

    Returns
    -------
    `(ny, nx)` float32: out(x) = image(x − d(x)), x being where the content arrives. What is kept is kept to 1 % in
    amplitude and phase up to two thirds of Nyquist.

    Notes
    -----
    Rows are resampled first, then columns, so that a pixel costs twice ten weights instead of ten times ten (Catmull &
    Smith, SIGGRAPH 1980, doi 10.1145/800250.807505). Runs of pixels share weights corrected to first order for what
    their displacements differ by; that changes a value by less than 10⁻³ of the image's standard deviation.
    """
    if image.ndim != 2 or displacement_px.ndim != 3 or displacement_px.shape[2] != 2 or 0 in displacement_px.shape:
        raise InvalidInput(
            f"an image of {image.shape} and displacements of {displacement_px.shape} were given",
            expected="(ny, nx) and (gy, gx, 2)",
        )
    if not np.all(np.isfinite(displacement_px)):
        raise InvalidInput("a displacement is not finite", expected="finite shifts [px]")
    shape = (image.shape[0], image.shape[1])
    source = np.ascontiguousarray(image, dtype=np.float32)
    grid_x = _along_rows(np.asarray(displacement_px, dtype=np.float64), shape)
    grids = [np.ascontiguousarray(grid, dtype=np.float32) for grid in (grid_x, displacement_px[..., 1])]
    module = native(np, "warp")
    if module is None:
        return generic_displace(generic_displace(source, grids[0], 1), grids[1], 0)
    table = weights_and_slopes()
    pad = REACH + 2 + int(np.ceil(max(float(np.abs(grid).max()) for grid in grids)))
    between: F32 = np.empty((shape[0] + 2 * pad, shape[1]), dtype=np.float32)
    out: F32 = np.empty(shape, dtype=np.float32)
    module.displace_rows(between, source, grids[0], table, _run_px(grids[0], shape[1]), pad)
    module.displace_columns(out, between, grids[1], table, _run_px(grids[1], shape[1]), pad)
    return out
