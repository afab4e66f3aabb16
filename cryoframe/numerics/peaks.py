"""Local maxima of an image and the choice among those too near each other; what the image means is its maker's."""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Floats, Reals


def local_maxima(image: Floats, *, threshold: float) -> tuple[Reals, Reals]:
    """Pixels above `threshold` that no neighbour of the eight exceeds, refined to a fraction of a pixel.

    Parameters
    ----------
    image
        `(ny, nx)` real.
    threshold
        Least value.

    Returns
    -------
    `(m, 2)` positions (x, y) [px from the centre of pixel 0] and `(m,)` values, highest first; equal values by
    position, so the order does not depend on chance.
    """
    if image.ndim != 2:
        raise InvalidInput(f"an array of shape {image.shape} was given", expected="an image (ny, nx)")
    ny, nx = image.shape
    if min(ny, nx) < 3:
        return np.empty((0, 2)), np.empty(0)
    inner = image[1:-1, 1:-1]
    highest = inner > threshold
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if (dy, dx) == (0, 0):
                continue
            other = image[1 + dy : ny - 1 + dy, 1 + dx : nx - 1 + dx]
            # Of two equal neighbours the first in row order is kept.
            highest &= (inner > other) if (dy, dx) < (0, 0) else (inner >= other)
    y, x = np.nonzero(highest)
    y, x = y + 1, x + 1
    values = image[y, x].astype(np.float64)
    at_x = x + _vertex(image[y, x - 1], values, image[y, x + 1])
    at_y = y + _vertex(image[y - 1, x], values, image[y + 1, x])
    order = np.lexsort((x, y, -values))
    return np.stack([at_x, at_y], axis=1)[order], values[order]


def _vertex(left: Floats, middle: Reals, right: Floats) -> Reals:
    """Where the parabola through three neighbours is highest, within ±½."""
    bend = left.astype(np.float64) - 2.0 * middle + right
    slope = 0.5 * (right.astype(np.float64) - left)
    offset: Reals = np.clip(np.where(bend < 0, -slope / np.where(bend < 0, bend, -1.0), 0.0), -0.5, 0.5)
    return offset


def keep_apart(positions: Floats, distance: float) -> Bools:
    """Which points stay when, in the order given, each point removes all later ones nearer than `distance`.

    Parameters
    ----------
    positions
        `(m, 2)`, best first.
    distance
        Least distance of two points that stay, in the unit of `positions`.

    Returns
    -------
    `(m,)` bool.
    """
    points = np.asarray(positions, dtype=np.float64)
    kept = np.zeros(len(points), dtype=bool)
    cells: dict[tuple[int, int], list[int]] = {}
    side = max(distance, 1e-9)
    for i, (x, y) in enumerate(points):
        column, row = int(np.floor(x / side)), int(np.floor(y / side))
        near = [j for dy in (-1, 0, 1) for dx in (-1, 0, 1) for j in cells.get((column + dx, row + dy), ())]
        if all((points[j, 0] - x) ** 2 + (points[j, 1] - y) ** 2 >= distance**2 for j in near):
            kept[i] = True
            cells.setdefault((column, row), []).append(i)
    return kept


def match_points(found: Floats, truth: Floats, radius: float) -> tuple[float, float]:
    """Precision and recall of points by one-to-one matching, best `found` first, nearest free `truth` within `radius`.

    Parameters
    ----------
    found
        `(m, 2)`, best first.
    truth
        `(n, 2)`.
    radius
        Largest distance of a match.
    """
    if len(found) == 0 or len(truth) == 0:
        return 0.0, 0.0
    free = np.ones(len(truth), dtype=bool)
    n_matched = 0
    for x, y in np.asarray(found, dtype=np.float64):
        distance = np.hypot(truth[:, 0] - x, truth[:, 1] - y)
        distance[~free] = np.inf
        nearest = int(np.argmin(distance))
        if distance[nearest] <= radius:
            free[nearest] = False
            n_matched += 1
    return n_matched / len(found), n_matched / len(truth)
