"""Boxes around particles: cutting, background ring, normalisation; finding the particles is not done here."""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats, Ints, Reals
from cryoframe.numerics.fourier import fourier_crop
from cryoframe.numerics.grids import radius_px
from cryoframe.numerics.peaks import keep_apart

_BOXES_AT_ONCE = 64


def box_corners(centres_px: Floats, box_px: int) -> tuple[Ints, Ints]:
    """Nearest whole-pixel boxes around centres.

    Parameters
    ----------
    centres_px
        `(m, 2)` (x, y) [px from the centre of pixel 0].
    box_px
        Edge.

    Returns
    -------
    First pixels `(m, 2)` (x, y) and the pixels `(m, 2)` that come to index ``box_px//2``.
    """
    middle = np.floor(np.asarray(centres_px, dtype=np.float64) + 0.5).astype(np.int64)
    return middle - box_px // 2, middle


def outside_by_px(corners: Ints, box_px: int, shape_px: tuple[int, int]) -> Ints:
    """By how many pixels each box leaves the image `(ny, nx)`, `(m,)`; 0 or less where it is inside."""
    last = corners + box_px
    over = np.maximum(last - np.array([shape_px[1], shape_px[0]]), -corners)
    farthest: Ints = over.max(axis=1) if len(over) else np.empty(0, dtype=np.int64)
    return farthest


def cut_boxes(micrograph: Floats, corners: Ints, box_px: int) -> F32:
    """Copy boxes out of an image, `(m, box, box)` float32.

    Raises
    ------
    InvalidInput
        A box leaves the image.
    """
    if np.any(outside_by_px(corners, box_px, (micrograph.shape[0], micrograph.shape[1])) > 0):
        raise InvalidInput("a box leaves the micrograph", remedy="Leave such particles out first: see outside_by_px.")
    images = np.empty((len(corners), box_px, box_px), dtype=np.float32)
    for i, (x, y) in enumerate(corners):
        images[i] = micrograph[y : y + box_px, x : x + box_px]
    return images


def cut_mirrored(micrograph: Floats, corners: Ints, box_px: int) -> F32:
    """Copy boxes `(m, box, box)` that may leave the image; beyond its edge it is continued by its mirror image.

    Raises
    ------
    InvalidInput
        More than half of a box would be made up, or the image is smaller than a box.
    """
    ny, nx = micrograph.shape
    over = outside_by_px(corners, box_px, (ny, nx))
    if min(ny, nx) < box_px or np.any(over > box_px // 2):
        raise InvalidInput(
            f"a box of {box_px} px leaves an image of {nx} × {ny} px by {int(over.max(initial=0))} px",
            expected="the particle's centre within the image",
        )
    images = np.empty((len(corners), box_px, box_px), dtype=np.float32)
    for i, (x, y) in enumerate(corners):
        rows, columns = (_mirrored(np.arange(at, at + box_px), n) for at, n in ((y, ny), (x, nx)))
        images[i] = micrograph[rows[:, None], columns[None, :]]
    return images


def _mirrored(index: Ints, n: int) -> Ints:
    """Index within `n`, the edge pixels standing at the mirror."""
    back = np.where(index < 0, -1 - index, index)
    folded: Ints = np.where(back >= n, 2 * n - 1 - back, back)
    return folded


def not_duplicated(centres: Floats, merit: Floats, tie: Ints, distance: float) -> Bools:
    """Which of particles `(m, 2)` have no better one nearer than `distance`; equally good ones are told apart by `tie`.

    Whatever order they come in, the same stay.
    """
    order = np.lexsort((tie, -np.asarray(merit, dtype=np.float64)))
    kept = np.zeros(len(order), dtype=bool)
    kept[order] = keep_apart(np.asarray(centres)[order], distance) if distance > 0 else True
    return kept


def background_ring(box_px: int, radius: float) -> Bools:
    """Pixels `(box, box)` further than `radius` [px] from the origin, which hold no particle.

    Raises
    ------
    InvalidInput
        Fewer than a tenth of the box is left.
    """
    outside: Bools = radius_px((box_px, box_px)) > radius
    if outside.mean() < 0.1:
        raise InvalidInput(
            f"a particle of radius {radius:.1f} px leaves {outside.mean():.0%} of a box of {box_px} px as background",
            expected="at least a tenth",
            remedy="Make the box larger, or the particle's diameter smaller.",
        )
    return outside


def normalise(images: F32, background: Bools, *, ramp: bool = True) -> Reals:
    """Give each image, in place, a background of mean 0 and standard deviation 1.

    Parameters
    ----------
    images
        `(m, box, box)` float32; changed.
    background
        `(box, box)` bool.
    ramp
        Subtract the plane that fits the background best, not only its mean.

    Returns
    -------
    `(m,)` standard deviations the images were divided by; where it is 0 the image is all 0.

    References
    ----------
    Sorzano et al., Ultramicroscopy 101, 129 (2004), doi 10.1016/j.ultramic.2004.04.003.
    """
    n = images.shape[-1]
    axis = (np.arange(n) - n // 2) / n
    y, x = np.meshgrid(axis, axis, indexing="ij")
    terms = np.stack([np.ones_like(x), x, y])[: 3 if ramp else 1]
    inside = terms[:, background]
    solver = np.linalg.pinv(inside.T).astype(np.float32)
    planes = terms.reshape(len(terms), -1).astype(np.float32)
    where = np.flatnonzero(background.ravel())
    spread = np.zeros(len(images))
    for i, image in enumerate(images):
        flat = image.reshape(-1)
        # The bulk of the grey value first, so that float32 keeps the digits that matter.
        flat -= np.float32(flat[where].mean(dtype=np.float64))
        flat -= (solver @ flat[where]) @ planes
        spread[i] = float(np.sqrt(np.mean(np.square(flat[where]), dtype=np.float64)))
        flat *= np.float32(1.0 / spread[i]) if spread[i] > 0 else np.float32(0.0)
    return spread


def shrink_boxes(images: F32, box_px: int, *, n_threads: int = 1) -> F32:
    """Fourier-crop boxes `(m, n, n)` to `(m, box, box)`, a few at a time; the origin stays at ``n//2``."""
    if images.shape[-1] == box_px:
        return images
    small = np.empty((len(images), box_px, box_px), dtype=np.float32)
    for first in range(0, len(images), _BOXES_AT_ONCE):
        some = slice(first, first + _BOXES_AT_ONCE)
        small[some] = fourier_crop(images[some], (box_px, box_px), origin="centre", n_threads=n_threads)
    return small
