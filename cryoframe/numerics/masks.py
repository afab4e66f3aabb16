"""Masks of images and maps: circles, spheres, soft edges, growth and connected parts; host arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.ndimage

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats
from cryoframe.numerics.grids import radius_px
from cryoframe.numerics.windows import cosine_edge


def circular_mask(n: int, radius: float, *, edge_px: float = 0.0, centre_px: Sequence[float] | None = None) -> F32:
    """Disc `(n, n)` float32: 1 within `radius` [px], falling to 0 over `edge_px` beyond; centre (y, x), else n//2."""
    return cosine_edge(radius_px((n, n), centre_px=centre_px), radius, radius + edge_px).astype(np.float32)


def spherical_mask(n: int, radius: float, *, edge_px: float = 0.0, centre_px: Sequence[float] | None = None) -> F32:
    """Ball `(n, n, n)` float32: 1 within `radius` [px], falling to 0 over `edge_px` beyond; centre (z, y, x)."""
    return cosine_edge(radius_px((n, n, n), centre_px=centre_px), radius, radius + edge_px).astype(np.float32)


def _distance_outside(binary: Bools) -> Floats:
    if not binary.any():
        raise InvalidInput("the mask is empty", expected="at least one voxel inside", remedy="Lower the threshold.")
    distance: Floats = scipy.ndimage.distance_transform_edt(~binary)
    return distance


def grow(binary: Bools, distance_px: float) -> Bools:
    """Add all voxels within `distance_px` (Euclidean); shrink by that much where it is negative."""
    if distance_px >= 0:
        return np.asarray(_distance_outside(binary) <= distance_px)
    return np.asarray(scipy.ndimage.distance_transform_edt(binary) > -distance_px)


def soft_edge(binary: Bools, edge_px: float) -> F32:
    """1 inside, raised-cosine fall to 0 over `edge_px` outside, by Euclidean distance; float32."""
    return cosine_edge(_distance_outside(binary), 0.0, edge_px).astype(np.float32)


def face_window(n: int, fade_px: float) -> F32:
    """Window `(n, n, n)` float32: 1 inside, falling to 0 at every face of the box over `fade_px`; centred on n//2."""
    if not fade_px >= 0.0:
        raise InvalidInput(f"a fall over {fade_px} px was asked for", expected="0 or more")
    # Index 0 lies one voxel further out than n-1 where n is even: measured from n//2 the window treats both alike.
    outermost = float((n - 1) // 2)
    distance = np.abs(np.arange(n) - n // 2).astype(np.float64)
    line = cosine_edge(distance, max(outermost - fade_px, 0.0), outermost)
    window = line[:, None, None] * line[None, :, None] * line[None, None, :]
    return np.asarray(window, dtype=np.float32)


def faces_maximum(mask: Floats) -> float:
    """Largest value on the six faces of `(nz, ny, nx)`."""
    return max(float(np.moveaxis(mask, axis, 0)[side].max()) for axis in range(3) for side in (0, -1))


def largest_component(binary: Bools) -> Bools:
    """The largest part whose voxels touch by faces."""
    labels, n_parts = scipy.ndimage.label(binary)
    if n_parts <= 1:
        return binary.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(np.argmax(sizes)))


def map_mask(
    volume: Floats,
    threshold: float,
    *,
    extend_px: float = 0.0,
    edge_px: float = 0.0,
    keep_largest: bool = False,
) -> F32:
    """Solvent mask of a map.

    Parameters
    ----------
    volume
        `(n, n, n)` real, usually low-passed first.
    threshold
        Voxels above it are inside.
    extend_px
        Growth of the inside before the edge.
    edge_px
        Width of the soft edge outside.
    keep_largest
        Keep only the largest connected part.

    Returns
    -------
    `(n, n, n)` float32, 0 … 1.

    Raises
    ------
    InvalidInput
        Where nothing is above the threshold.
    """
    binary: Bools = np.asarray(volume > threshold)
    if keep_largest:
        binary = largest_component(binary)
    # One distance serves both: the edge begins where the growth ends.
    return cosine_edge(_distance_outside(binary), extend_px, extend_px + edge_px).astype(np.float32)
