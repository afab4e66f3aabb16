"""The test card: pictures, picks and maps without symmetry, and naming what was done to them. It makes no judgement.

All eight symmetries of the rectangle and square have a name, as seen with row 0 on top; maps have a hand besides.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput

Array = npt.NDArray[np.floating]
Reals = npt.NDArray[np.float64]

#: name → what it does to an image `(…, ny, nx)`; rot90 turns against the clock.
SYMMETRIES: Final[MappingProxyType[str, Callable[[Array], Array]]] = MappingProxyType(
    {
        "identity": lambda image: image,
        "rot90": lambda image: np.rot90(image, 1, axes=(-2, -1)),
        "rot180": lambda image: np.rot90(image, 2, axes=(-2, -1)),
        "rot270": lambda image: np.rot90(image, 3, axes=(-2, -1)),
        "flip_x": lambda image: image[..., :, ::-1],
        "flip_y": lambda image: image[..., ::-1, :],
        "transpose": lambda image: np.swapaxes(image, -2, -1),
        "anti_transpose": lambda image: np.swapaxes(image, -2, -1)[..., ::-1, ::-1],
    }
)
#: The same for points (x, y) in pixels of an image of `(ny, nx)`.
_POINTS: Final[MappingProxyType[str, Callable[[Reals, Reals, int, int], tuple[Reals, Reals]]]] = MappingProxyType(
    {
        "identity": lambda x, y, ny, nx: (x, y),
        "rot90": lambda x, y, ny, nx: (y, nx - 1 - x),
        "rot180": lambda x, y, ny, nx: (nx - 1 - x, ny - 1 - y),
        "rot270": lambda x, y, ny, nx: (ny - 1 - y, x),
        "flip_x": lambda x, y, ny, nx: (nx - 1 - x, y),
        "flip_y": lambda x, y, ny, nx: (x, ny - 1 - y),
        "transpose": lambda x, y, ny, nx: (y, x),
        "anti_transpose": lambda x, y, ny, nx: (ny - 1 - y, nx - 1 - x),
    }
)
#: Symmetries that turn a picture over: seen in a mirror, not merely turned.
MIRRORS: Final = frozenset({"flip_x", "flip_y", "transpose", "anti_transpose"})
#: A correlation below this names nothing.
RECOGNISED: Final = 0.3


def card_image(shape_px: tuple[int, int] = (300, 420)) -> npt.NDArray[np.float32]:
    """A picture like the letter F beside a spot: values 0 to 1, different from each of its seven mirror images."""
    ny, nx = shape_px
    y, x = np.mgrid[0:ny, 0:nx].astype(np.float64)
    y, x = y / (ny - 1), x / (nx - 1)
    strokes = (
        ((x > 0.22) & (x < 0.32) & (y > 0.15) & (y < 0.85)),
        ((x > 0.22) & (x < 0.75) & (y > 0.15) & (y < 0.27)),
        ((x > 0.22) & (x < 0.58) & (y > 0.44) & (y < 0.55)),
    )
    spot = 0.8 * np.exp(-(((x - 0.72) / 0.06) ** 2 + ((y - 0.78) / 0.08) ** 2))
    picture = 0.9 * np.logical_or.reduce(strokes) + spot + 0.1 * x + 0.05 * y
    return _softened(picture).astype(np.float32)


def _softened(picture: Reals) -> Reals:
    """Three passes of a 3 × 3 mean: edges that survive interpolation."""
    for _ in range(3):
        padded = np.pad(picture, 1, mode="edge")
        rows = (padded[:-2] + padded[1:-1] + padded[2:]) / 3.0
        picture = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 3.0
    return picture


def apply_to_image(name: str, image: Array) -> Array:
    """Return `image` `(…, ny, nx)` after the named symmetry."""
    turned: Array = np.ascontiguousarray(SYMMETRIES[name](image))
    return turned


def apply_to_points(name: str, points_px: Reals, shape_px: tuple[int, int]) -> Reals:
    """Return where points `(n, 2)` (x, y) of an image of `shape_px` (ny, nx) come to lie."""
    ny, nx = shape_px
    return np.stack(_POINTS[name](points_px[:, 0], points_px[:, 1], ny, nx), axis=-1)


def apply_to_map(name: str, data: Array, *, mirror: bool) -> Array:
    """Return a map (z, y, x) with the symmetry applied in each section, and its sections reversed when `mirror`."""
    turned = SYMMETRIES[name](data)
    return np.ascontiguousarray(turned[::-1] if mirror else turned)


def identify_image_symmetry(card: Array, result: Array) -> str:
    """Name what turned `card` into `result`.

    Parameters
    ----------
    card
        `(ny, nx)`; may be any picture without symmetry, such as :func:`card_image`.
    result
        The same picture after something was done to it; contrast and offset may differ, its sign not.

    Returns
    -------
    One of `SYMMETRIES`.

    Raises
    ------
    InvalidInput
        If no symmetry of the card resembles the result.
    """
    scores = {
        name: correlation(turn(card), result) for name, turn in SYMMETRIES.items() if turn(card).shape == result.shape
    }
    return _best(scores, f"an image of shape {result.shape}", f"the card {card.shape} turned or flipped")


def identify_picks_symmetry(truth_px: Reals, found_px: Reals, shape_px: tuple[int, int], *, within_px: float) -> str:
    """Name what turned positions `(n, 2)` (x, y) into those found; a position counts as found when within `within_px`.

    Raises
    ------
    InvalidInput
        If no symmetry explains half of the positions.
    """
    scores = {name: matched(apply_to_points(name, truth_px, shape_px), found_px, within_px).mean() for name in _POINTS}
    if not scores or max(scores.values()) < 0.5:
        raise InvalidInput(
            f"{len(found_px)} positions resemble no symmetry of the {len(truth_px)} true ones",
            expected=f"half of them within {within_px:g} px",
        )
    return max(scores, key=lambda name: scores[name])


def matched(truth_px: Reals, found_px: Reals, within_px: float) -> npt.NDArray[np.bool_]:
    """Which of the true positions `(n, 2)` have a found one within `within_px`."""
    if not len(found_px):
        return np.zeros(len(truth_px), dtype=bool)
    distance = np.linalg.norm(truth_px[:, None] - found_px[None], axis=-1)
    near: npt.NDArray[np.bool_] = distance.min(axis=1) <= within_px
    return near


def identify_map_symmetry(card: Array, result: Array) -> tuple[str, bool]:
    """Name what turned a map (z, y, x) into another: the symmetry of its sections, and whether they were reversed.

    Raises
    ------
    InvalidInput
        If none of the sixteen resembles the result.
    """
    scores = {
        f"{name}|{mirror}": correlation(apply_to_map(name, card, mirror=mirror), result)
        for name in SYMMETRIES
        for mirror in (False, True)
        if apply_to_map(name, card, mirror=mirror).shape == result.shape
    }
    name, _, mirror = _best(scores, f"a map of shape {result.shape}", "the card turned or mirrored").partition("|")
    return name, mirror == "True"


def identify_map_hand(card: Array, result: Array) -> str:
    """Return ``right`` when the map has the card's hand, ``left`` when it is its mirror image, however turned."""
    name, reversed_sections = identify_map_symmetry(card, result)
    return "left" if (name in MIRRORS) != reversed_sections else "right"


def identify_angle_symmetry(truth_deg: float, found_deg: float) -> str:
    """Name what turned an axis at `truth_deg` (x towards y) into one at `found_deg`, to the nearest; modulo 180°."""
    turned = {"identity": truth_deg, "flip_y": -truth_deg, "rot90": truth_deg + 90.0, "transpose": 90.0 - truth_deg}
    return min(turned, key=lambda name: axis_distance_deg(turned[name], found_deg))


def axis_distance_deg(a_deg: float, b_deg: float) -> float:
    """Angle between two axes, 0 to 90 degrees."""
    difference = abs(a_deg - b_deg) % 180.0
    return min(difference, 180.0 - difference)


def correlation(a: Array, b: Array) -> float:
    """Pearson correlation of all values."""
    x, y = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm > 0 else 0.0


def _best(scores: dict[str, float], what: str, expected: str) -> str:
    if not scores or max(scores.values()) < RECOGNISED:
        raise InvalidInput(f"{what} resembles no symmetry of the test card", expected=expected)
    return max(scores, key=lambda name: scores[name])
