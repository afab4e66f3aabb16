"""What a map resolves of a model that is known: bonded atoms apart, water and hydrogen as peaks; no fitting.

The counts say what a reader of the map would see, so that maps of one specimen at several resolutions compare.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Floats, Ints, Reals

_BOND_A = (1.15, 1.70)
_ALONG = 21
_OVERLAPPING_A = 0.9
#: A dip this deep between two atoms, against the lower of both, is seen as a gap.
_DIP_FRAC = 0.02


class MapFeatures(NamedTuple):
    """Counts of what is seen and of what there is.

    Parameters
    ----------
    n_pairs_apart, n_pairs
        Pairs of bonded atoms with a gap between them, and all.
    n_waters_seen, n_waters
        Water molecules with a peak of their own above the threshold, and all.
    """

    n_pairs_apart: int
    n_pairs: int
    n_waters_seen: int
    n_waters: int


def bonded_pairs(positions_A: Floats) -> Ints:
    """Pairs `(p, 2)` of places that are 1.15 to 1.70 Å apart: bonds among C, N and O.

    `positions_A` is `(m, 3)`.
    """
    places = np.asarray(positions_A, dtype=np.float64)
    order = np.argsort(places[:, 0], kind="stable")
    ordered = places[order]
    last = np.searchsorted(ordered[:, 0], ordered[:, 0] + _BOND_A[1], side="right")
    found = []
    for index, end in enumerate(last):
        distance = np.linalg.norm(ordered[index + 1 : end] - ordered[index], axis=1)
        near = np.flatnonzero((distance >= _BOND_A[0]) & (distance <= _BOND_A[1])) + index + 1
        found += [(order[index], order[other]) for other in near]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def values_at(volume: Floats, pixel_size_A: float, positions_A: Floats) -> Reals:
    """Map values at places `(…, 3)` (x, y, z) [Å] from voxel n//2, tri-linear; 0 outside the box."""
    data = np.asarray(volume)
    n = data.shape[0]
    points = np.asarray(positions_A, dtype=np.float64) / pixel_size_A + n // 2
    inside = np.all((points >= 0) & (points < n - 1), axis=-1)
    points = np.where(inside[..., None], points, 0.0)
    low = points.astype(np.intp)
    part = points - low
    total = np.zeros(points.shape[:-1])
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1.0 - part), axis=-1)
        x, y, z = (low[..., axis] + corner[axis] for axis in range(3))
        total += weight * data[z, y, x]
    values: Reals = np.where(inside, total, 0.0)
    return values


def pairs_apart(volume: Floats, pixel_size_A: float, positions_A: Floats, pairs: Ints) -> Bools:
    """Which bonded atoms a map shows apart: along the line between both the map dips below the lower end.

    Parameters
    ----------
    volume
        `(n, n, n)`, finely sampled: three voxels or more to the resolution.
    pixel_size_A
        Voxel.
    positions_A
        `(m, 3)` of the atoms from voxel n//2.
    pairs
        `(p, 2)` indices of atoms.

    Returns
    -------
    `(p,)`, true where the dip is 2 % of the lower end's value or more.

    References
    ----------
    Two points are resolved when there is a dip between them: Sparrow, Astrophys. J. 44, 76 (1916), doi 10.1086/142271.
    """
    first, second = (np.asarray(positions_A)[pairs[:, side]] for side in (0, 1))
    part = np.linspace(0.0, 1.0, _ALONG)[None, :, None]
    along = values_at(volume, pixel_size_A, first[:, None] * (1.0 - part) + second[:, None] * part)
    # The peaks of two atoms that overlap lie a little inwards of both, or are not there.
    third = _ALONG // 3
    ends = np.minimum(along[:, : third + 1].max(axis=1), along[:, -third - 1 :].max(axis=1))
    middle = along[:, third:-third].min(axis=1)
    apart: Bools = (ends > 0.0) & (middle < (1.0 - _DIP_FRAC) * ends)
    return apart


def peaks_seen(
    volume: Floats, pixel_size_A: float, positions_A: Floats, *, n_sigma: float = 3.0, reach_A: float = 0.5
) -> Bools:
    """Which places have a peak of the map of their own.

    Parameters
    ----------
    volume
        `(n, n, n)`.
    pixel_size_A
        Voxel.
    positions_A
        `(m, 3)` from voxel n//2.
    n_sigma
        Least height, in standard deviations of the map above its mean.
    reach_A
        How far from its place a peak may be.

    Returns
    -------
    `(m,)`, true where a voxel within reach is above the threshold and above all its 26 neighbours.
    """
    data = np.asarray(volume)
    if data.ndim != 3 or not pixel_size_A > 0 or not n_sigma >= 0 or not reach_A >= 0:
        raise InvalidInput(
            f"a map of {data.shape}, voxels of {pixel_size_A} Å, {n_sigma} σ and {reach_A} Å were given",
            expected="(n, n, n), positive voxels",
        )
    n = data.shape[0]
    threshold = float(data.mean(dtype=np.float64) + n_sigma * data.std(dtype=np.float64))
    reach = int(np.ceil(reach_A / pixel_size_A))
    offsets = np.stack(np.meshgrid(*([np.arange(-reach, reach + 1)] * 3), indexing="ij"), axis=-1).reshape(-1, 3)
    centre = np.asarray(positions_A, dtype=np.float64) / pixel_size_A + n // 2
    nearest = np.round(centre).astype(np.intp)
    seen = np.zeros(len(centre), dtype=np.bool_)
    for offset in offsets:
        voxel = nearest + offset
        close = np.linalg.norm(voxel - centre, axis=1) <= reach_A / pixel_size_A + 0.5
        close &= np.all((voxel >= 1) & (voxel < n - 1), axis=1)
        index = np.flatnonzero(close & ~seen)
        x, y, z = voxel[index].T
        value = data[z, y, x]
        highest = value > threshold
        for step in np.ndindex(3, 3, 3):
            if step != (1, 1, 1):
                highest &= value >= data[z + step[2] - 1, y + step[1] - 1, x + step[0] - 1]
        seen[index] = highest
    return seen


def map_features(
    volume: Floats, pixel_size_A: float, positions_A: Floats, waters_A: Floats, *, n_sigma: float = 3.0
) -> MapFeatures:
    """Count the bonded atoms that a map shows apart and the waters that it shows as peaks.

    Parameters
    ----------
    volume
        `(n, n, n)`.
    pixel_size_A
        Voxel; three or more to the resolution.
    positions_A, waters_A
        `(m, 3)` heavy atoms of the molecule and `(w, 3)` oxygens of waters, from voxel n//2.
    n_sigma
        Threshold of a water's peak.
    """
    atoms = _distinct(np.asarray(positions_A, dtype=np.float64))
    waters = _distinct(np.asarray(waters_A, dtype=np.float64))
    pairs = bonded_pairs(atoms)
    apart = pairs_apart(volume, pixel_size_A, atoms, pairs) if len(pairs) else np.zeros(0, dtype=np.bool_)
    seen = peaks_seen(volume, pixel_size_A, waters, n_sigma=n_sigma) if len(waters) else np.zeros(0, dtype=np.bool_)
    return MapFeatures(int(apart.sum()), len(pairs), int(seen.sum()), len(waters))


def _distinct(places_A: Reals) -> Reals:
    """Places without those, such as alternatives of one atom, that are on top of an earlier one."""
    order = np.argsort(places_A[:, 0], kind="stable") if len(places_A) else np.zeros(0, dtype=np.intp)
    kept: list[int] = []
    for index in order:
        near = reversed(kept)
        for other in near:
            if places_A[index, 0] - places_A[other, 0] > _OVERLAPPING_A:
                kept.append(int(index))
                break
            if np.linalg.norm(places_A[index] - places_A[other]) < _OVERLAPPING_A:
                break
        else:
            kept.append(int(index))
    return places_A[np.sort(np.array(kept, dtype=np.intp))]
