"""Images moved by a smooth field of displacements, as a specimen that deforms; uniform shifts are in fourier.

References
----------
Kaiser's window: Kaiser & Schafer, IEEE Trans. Acoust. 28, 105 (1980), doi 10.1109/TASSP.1980.1163349.
"""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Reals, native

#: Pixels on either side that a value is taken from.
REACH = 5
#: Parts of a pixel that weights are tabulated for; a rounding of 1/2048 px.
STEPS = 1024
#: Shape of the window; along an axis the response stays within 0.4 % of 1 up to two thirds of Nyquist, then drops.
_BETA = 5.0


def sinc_table() -> F32:
    """Weights `(STEPS + 1, 2·REACH)` of the pixels around a place, by its part of a pixel; each row adds up to 1."""
    part = np.arange(STEPS + 1)[:, None] / STEPS
    distance = part - (np.arange(2 * REACH)[None, :] - (REACH - 1))
    inside = np.clip(1.0 - (distance / REACH) ** 2, 0.0, 1.0)
    weights = np.sinc(distance) * np.i0(_BETA * np.sqrt(inside)) * (inside > 0.0)
    table: F32 = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return table


def displace(out: F32, image: F32, grid_px: F32, table: F32) -> None:
    """Reference of the compiled loop of the same name; `grid_px` `(gy, gx, 2)` spans the first to the last pixel."""
    ny, nx = image.shape
    gy, gx, _ = grid_px.shape
    rows, columns = np.indices((ny, nx), dtype=np.float64)
    v, u = rows * (gy - 1) / max(ny - 1, 1), columns * (gx - 1) / max(nx - 1, 1)
    i, j = np.minimum(v.astype(int), max(gy - 2, 0)), np.minimum(u.astype(int), max(gx - 2, 0))
    v, u = (v - i)[..., None], (u - j)[..., None]
    below, right = np.minimum(i + 1, gy - 1), np.minimum(j + 1, gx - 1)
    top = grid_px[i, j] * (1.0 - u) + grid_px[i, right] * u
    bottom = grid_px[below, j] * (1.0 - u) + grid_px[below, right] * u
    shift = top * (1.0 - v) + bottom * v
    x, y = columns - shift[..., 0], rows - shift[..., 1]
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    weights_x = table[np.rint((x - x0) * (len(table) - 1)).astype(int)]
    weights_y = table[np.rint((y - y0) * (len(table) - 1)).astype(int)]
    out[...] = 0.0
    for a in range(2 * REACH):
        for b in range(2 * REACH):
            taken = image[(y0 + a - REACH + 1) % ny, (x0 + b - REACH + 1) % nx]
            out += weights_y[..., a] * weights_x[..., b] * taken


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
    `(ny, nx)` float32: out(x) = image(x − d(x)), exact where d is uniform, x being where the content arrives. What
    is kept is kept to 1 % in amplitude and phase up to two thirds of Nyquist.
    """
    if image.ndim != 2 or displacement_px.ndim != 3 or displacement_px.shape[2] != 2 or 0 in displacement_px.shape:
        raise InvalidInput(
            f"an image of {image.shape} and displacements of {displacement_px.shape} were given",
            expected="(ny, nx) and (gy, gx, 2)",
        )
    if not np.all(np.isfinite(displacement_px)):
        raise InvalidInput("a displacement is not finite", expected="finite shifts [px]")
    out: F32 = np.empty(image.shape, dtype=np.float32)
    module = native(np, "warp")
    loop = displace if module is None else module.displace
    source = np.ascontiguousarray(image, dtype=np.float32)
    loop(out, source, np.ascontiguousarray(displacement_px, dtype=np.float32), sinc_table())
    return out
