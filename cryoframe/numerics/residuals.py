"""Noise spectra: power of images by ring, before and after the map's projections are taken off."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.interpolate import at_points, half_points
from cryoframe.numerics.projection import project_points
from cryoframe.numerics.reconstruction import shift_at_points

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]


def power_by_ring(images_ft: Array, *, n_rings: int | None = None) -> Reals:
    """Mean ``|X|^2`` of each image by ring.

    Parameters
    ----------
    images_ft
        `(m, n, n//2 + 1)` complex, centred half layout.
    n_rings
        ``n//2 + 1`` unless given; the last ring, of no unambiguous values, repeats the one before.

    Returns
    -------
    `(m, n_rings)` float64.

    References
    ----------
    Definition.
    """
    n = images_ft.shape[-2]
    points = half_points(n)
    values = at_points(images_ft, points)
    return ring_means(values.real**2 + values.imag**2, points, n_rings or n // 2 + 1)


def ring_means(values: Array, points: Array, n_rings: int) -> Reals:
    """Means `(m, n_rings)` of `(m, p)` values over rings of frequency; a ring with no point repeats the one before."""
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    inside = rings < n_rings
    select = np.zeros((len(points), n_rings))
    select[np.flatnonzero(inside), rings[inside]] = 1.0
    count = select.sum(axis=0)
    means = np.asarray(values, dtype=np.float64) @ select / np.maximum(count, 1.0)
    for ring in np.flatnonzero(count == 0):
        means[:, ring] = means[:, ring - 1]
    return np.asarray(means)


def residual_power(  # one argument a term of the model X = C P + noise
    volume_ft: Array,
    images_ft: Array,
    rotations: Array,
    shifts_px: Array,
    *,
    ctfs: Array,
    padding: int = 2,
) -> Reals:
    """Mean ``|X - C P|^2`` of each image by ring: the noise, where the map is right.

    Parameters
    ----------
    volume_ft
        `(N, N, N//2 + 1)` complex64 from `projection.prepare_volume`, on the images' scale.
    images_ft
        `(m, n, n//2 + 1)` complex64.
    rotations
        `(m, 3, 3)`.
    shifts_px
        `(m, 2)`: translation to apply to the images.
    ctfs
        `(m, n, n//2 + 1)` float32.
    padding
        Of `volume_ft`.

    Returns
    -------
    `(m, n//2 + 1)` float64.

    References
    ----------
    Noise update: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 4.
    """
    n = images_ft.shape[-2]
    points = half_points(n)
    moved = shift_at_points(at_points(images_ft, points), points, shifts_px, n=n)
    rest = moved - at_points(ctfs, points) * project_points(volume_ft, rotations, points, padding=padding)
    return ring_means(rest.real**2 + rest.imag**2, points, n // 2 + 1)


def group_spectra(power: Array, groups: Array) -> Reals:
    """Spectra `(m, r)` averaged over the images of each group and handed back to each image; never zero.

    Parameters
    ----------
    power
        `(m, r)`, one spectrum an image.
    groups
        `(m,)` labels.

    References
    ----------
    Definition.
    """
    spectra = np.empty_like(power, dtype=np.float64)
    for label in np.unique(groups):
        members = groups == label
        mean = power[members].mean(axis=0)
        spectra[members] = np.maximum(mean, 1e-6 * max(float(mean.max()), 1e-30))
    return spectra
