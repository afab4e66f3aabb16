"""Windows and edges: raised cosines, Tukey, and tiles that cover an image; masks of particles live in masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals, namespace


class Tile(NamedTuple):
    """A rectangle of an image: first row and column, number of rows and columns [px]."""

    y_px: int
    x_px: int
    n_y: int
    n_x: int

    def slices(self) -> tuple[slice, slice]:
        """Index of the tile in `(…, ny, nx)` after an ellipsis."""
        return slice(self.y_px, self.y_px + self.n_y), slice(self.x_px, self.x_px + self.n_x)


def cosine_edge(distance: Floats, start: float, stop: float) -> Floats:
    """Raised-cosine fall: 1 up to `start`, 0 from `stop` on, ½ half-way; a step at `start` where both are equal.

    Parameters
    ----------
    distance
        Array of distances or frequencies of any shape.
    start, stop
        In the same unit, ``stop >= start``.
    """
    xp = namespace(distance)
    if stop < start:
        raise InvalidInput(f"an edge from {start} down to {stop} was asked for", expected="stop >= start")
    if stop == start:
        step: Floats = xp.where(distance <= start, 1.0, 0.0)
        return step
    part = xp.clip((distance - start) / (stop - start), 0.0, 1.0)
    edge: Floats = 0.5 + 0.5 * xp.cos(np.pi * part)
    return edge


def tukey(n: int, taper_frac: float = 0.1) -> Reals:
    """Tukey window `(n,)`: flat with a raised-cosine taper over `taper_frac` of the length in all (1: Hann).

    Symmetric; samples are taken at pixel centres, so no sample is exactly 0.

    References
    ----------
    Harris, Proc. IEEE 66, 51 (1978), doi 10.1109/PROC.1978.10837, eq. 38.
    """
    if not 0.0 <= taper_frac <= 1.0:
        raise InvalidInput(f"a taper of {taper_frac} of the window was asked for", expected="a fraction, 0 to 1")
    from_end = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
    width = 0.5 * taper_frac * n
    if width == 0.0:
        return np.ones(n)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(from_end / width, 0.0, 1.0))


def tukey_2d(shape: Sequence[int], taper_frac: float = 0.1) -> Reals:
    """Product of Tukey windows `(ny, nx)`."""
    ny, nx = shape
    return tukey(ny, taper_frac)[:, None] * tukey(nx, taper_frac)[None, :]


def _starts(length: int, tile: int, overlap_frac: float) -> list[int]:
    stride = max(1, round(tile * (1.0 - overlap_frac)))
    n = 1 + int(np.ceil((length - tile) / stride))
    # Spread evenly, so that the last tile ends with the image and none sticks out.
    return [round(position) for position in np.linspace(0, length - tile, n)]


def tiles(shape: Sequence[int], tile_shape: Sequence[int], *, overlap_frac: float = 0.0) -> list[Tile]:
    """Tiles that cover an image completely, evenly spread, overlapping by at least `overlap_frac`.

    Parameters
    ----------
    shape, tile_shape
        `(ny, nx)`; a tile may not be larger than the image.
    overlap_frac
        Share of a tile's length its neighbour covers too, 0 ≤ overlap < 1.
    """
    if not 0.0 <= overlap_frac < 1.0 or any(not 0 < t <= n for t, n in zip(tile_shape, shape, strict=True)):
        raise InvalidInput(
            f"tiles of {tuple(tile_shape)} with overlap {overlap_frac} on an image of {tuple(shape)} were asked for",
            expected="tiles that fit and an overlap in [0, 1)",
        )
    (ny, nx), (tile_y, tile_x) = shape, tile_shape
    rows, columns = _starts(ny, tile_y, overlap_frac), _starts(nx, tile_x, overlap_frac)
    return [Tile(y, x, tile_y, tile_x) for y in rows for x in columns]


def blend_weights(shape: Sequence[int], placed: Sequence[Tile]) -> list[Reals]:
    """Weights `(n_y, n_x)` for each tile that add up to 1 at every pixel and fall towards the tiles' borders."""
    window = [tukey(tile.n_y, 1.0)[:, None] * tukey(tile.n_x, 1.0)[None, :] for tile in placed]
    total = np.zeros(tuple(shape))
    for tile, weight in zip(placed, window, strict=True):
        total[tile.slices()] += weight
    return [weight / total[tile.slices()] for tile, weight in zip(placed, window, strict=True)]
