"""A product of one micrograph → small PNGs for people: sum, drift, spectrum beside fit, picks, what may be used.

Named as the columns of the table of exposures, without `_png`. They are drawn where the product was made, in its own
process, so that whoever shows them need not read a full-size image again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.images import CorrectedMicrograph, CtfFit, Micrograph, MicrographVerdict
from cryoframe.data.tables import ParticleTable
from cryoframe.formats.png import png, shrink, stretch

#: Longest edge of a picture.
EDGE_PX, DRIFT_PX = 384, 192
#: Greys 0…247, then colours (Okabe & Ito 2008): marks, first curve, second, paper, frame.
GREYS: Final = 248
PALETTE: Final = tuple(
    [(round(value * 255 / (GREYS - 1)),) * 3 for value in range(GREYS)]
    + [(0, 158, 115), (0, 114, 178), (213, 94, 0), (255, 255, 255), (190, 190, 190)]
)
MARK, FIRST, SECOND, PAPER, FRAME = range(GREYS, GREYS + 5)

Picture = NDArray[np.uint8]


def thumbnails(product: object, micrograph: Micrograph | None = None) -> dict[str, bytes]:
    """Draw a product.

    Parameters
    ----------
    product
        As a stage returned it.
    micrograph
        The one it is about, where the product itself does not hold it.

    Returns
    -------
    PNG files by name; none for a kind of product that has no picture.
    """
    draw = DRAWN.get(type(product))
    drawn = draw(product, micrograph) if draw else {}
    return {name: png(picture, palette=PALETTE) for name, picture in drawn.items()}


def _grey(image: NDArray[np.floating], **quantiles: float) -> Picture:
    small = stretch(shrink(image, EDGE_PX), **quantiles)
    return (small.astype(np.uint16) * (GREYS - 1) // 255).astype(np.uint8)


def _corrected(product: CorrectedMicrograph, _: Micrograph | None) -> dict[str, Picture]:
    return {"sum": _grey(product.micrograph.data), "drift": _drift(product)}


def _drift(product: CorrectedMicrograph) -> Picture:
    """Draw the way of the whole frame in the plane of the image, its first frame marked, one scale for both axes."""
    picture = np.full((DRIFT_PX, DRIFT_PX), PAPER, dtype=np.uint8)
    picture[[0, -1]], picture[:, [0, -1]] = FRAME, FRAME
    motion = product.motion
    whole = np.isnan(motion.floats("patch_x_A"))
    way = -np.stack([motion.floats(name)[whole] for name in ("shift_x_A", "shift_y_A")], axis=-1)  # where it went
    if not len(way) or not np.isfinite(way).all():
        return picture
    middle, reach = 0.5 * (way.min(axis=0) + way.max(axis=0)), max(float(np.ptp(way, axis=0).max()), 1.0)
    places = (way - middle) / reach * 0.8 * DRIFT_PX + 0.5 * DRIFT_PX
    for start, end in pairwise(places):
        n_points = 2 * int(np.abs(end - start).max()) + 2
        _stamp(picture, start + (end - start) * np.linspace(0, 1, n_points)[:, None], FIRST, radius_px=1)
    for place in places:
        _stamp(picture, place[None], FIRST, radius_px=2)
    _stamp(picture, places[:1], SECOND, radius_px=4)
    return picture


def _fitted(fit: CtfFit, _: Micrograph | None) -> dict[str, Picture]:
    if fit.spectrum is None:
        return {}
    return {"ctf": _grey(np.asarray(fit.spectrum), low_frac=0.02, high_frac=0.995)}


def _picked(table: ParticleTable, micrograph: Micrograph | None) -> dict[str, Picture]:
    if micrograph is None or not table.has("position"):
        return {}
    picture = _grey(micrograph.data)
    step = -(-max(micrograph.shape_px) // EDGE_PX)
    x, y = ((table.floats(name) / micrograph.pixel_size_A + 0.5) / step for name in ("x_A", "y_A"))
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = max(0.5 * _spacing(x, y), 4.0)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * np.array([[[radius - 0.5]], [[radius + 0.5]]])
    for centre in np.stack([x, y], axis=-1):
        _stamp(picture, (centre + ring).reshape(-1, 2), MARK, radius_px=0)
    return {"picks": picture}


def _usable(verdict: MicrographVerdict, micrograph: Micrograph | None) -> dict[str, Picture]:
    if micrograph is None:
        return {}
    picture = _grey(micrograph.data)
    step = -(-max(micrograph.shape_px) // EDGE_PX)
    tile = verdict.tile_A / micrograph.pixel_size_A / step
    rows, columns = (
        np.minimum((np.arange(n) / tile).astype(int), limit - 1)
        for n, limit in zip(picture.shape, verdict.usable.shape, strict=True)
    )
    shut = np.asarray(verdict.usable)[np.ix_(rows, columns)] < 0.5
    hatched = (np.add.outer(np.arange(picture.shape[0]), np.arange(picture.shape[1])) % 6) < 2
    picture[shut & hatched] = SECOND
    return {"usable": picture}


DRAWN: Mapping[type, Callable[[Any, Micrograph | None], dict[str, Picture]]] = MappingProxyType(
    {CorrectedMicrograph: _corrected, CtfFit: _fitted, ParticleTable: _picked, MicrographVerdict: _usable}
)


def _stamp(picture: Picture, places: NDArray[np.floating], colour: int, *, radius_px: int) -> None:
    """Colour a square of pixels about each place (x, y)."""
    ny, nx = picture.shape
    x, y = np.floor(places[:, 0]).astype(int), np.floor(places[:, 1]).astype(int)
    for dy in range(-radius_px, radius_px + 1):
        for dx in range(-radius_px, radius_px + 1):
            inside = (x + dx >= 0) & (x + dx < nx) & (y + dy >= 0) & (y + dy < ny)
            picture[(y + dy)[inside], (x + dx)[inside]] = colour


def _spacing(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Smallest distance between two picks: a picker's minimum distance, near enough for drawing circles."""
    if len(x) < 2:
        return 0.0
    few = slice(0, 400)
    distance = np.hypot(x[few, None] - x[None, few], y[few, None] - y[None, few])
    return float(np.min(distance[distance > 0], initial=0.1 * EDGE_PX))
