"""Posterior of images on lattices of rotations around modes, as fine as each posterior is wide; no maps are made here.

Sums over a lattice whose step is one and a half deviations of a Gaussian are its integrals to one part in a thousand
(the transform of the Gaussian at one over the step): a finer lattice adds nothing, and a coarser one shows by a point
that holds much of all. So each image has a step of its own, made finer until no point holds much or the step no longer
matters at the map's resolution, and coarser once where the rim holds much.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.pose_search import Poses, Targets, local_scores
from cryoframe.numerics.rotations import angular_distance_deg, vector_rotation

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]

#: Steps of a lattice in deviations of the posterior it is for.
STEP_SIGMA = 1.5
#: A point with more of the posterior than this shows a lattice too coarse: at 1.5 deviations the best holds 0.21.
TOO_COARSE = 0.3
#: A lattice whose outermost points hold more of the posterior than this is too small.
TOO_SMALL = 0.1
#: Modes with less of the posterior are left out.
LEAST_MODE = 1e-3
# Points of a lattice lie within so many steps, squared: 81 of them, to 3.7 deviations.
_REACH_SQUARE = 6
# Steps from a mode to which its lattice is trusted to hold what is there.
_WITHIN_STEPS = 2.2
# Steps are powers of the square root of two times the least one, to this power; lattices an image is given at most.
_TOP_LEVEL, _MOST_PASSES = 12, 4
# Change of the power that says that a lattice serves.
_ENOUGH = 99


class Modes(NamedTuple):
    """Modes of posteriors: `rotations` `(m, k, 3, 3)`, `shifts_px` `(m, k, 2)`, `share`, `width_deg` `(m, k)`."""

    rotations: Array
    shifts_px: Array
    share: Array
    width_deg: Array


class Scored(NamedTuple):
    """Lattices of modes: `offsets` `(c, 3)` [rad], `log_mass` `(m, k, c)`, mean `shifts_px` `(m, k, c, 2)`."""

    offsets: Array
    log_mass: Array
    shifts_px: Array


class Followed(NamedTuple):
    """Modes found, poses to sum an image at, and the share `(m,)` of each posterior at the rim of its lattices."""

    modes: Modes
    insert: tuple[Array, Array, Array]
    rim: Array


def lattice(step_deg: float) -> Reals:
    """Rotation vectors `(81, 3)` [rad] of a cubic lattice, inside a ball."""
    axis = np.arange(-2, 3)
    vectors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = (vectors**2).sum(axis=1) <= _REACH_SQUARE
    return np.asarray(vectors[inside] * np.radians(step_deg))


def hexagon(step_px: float) -> Reals:
    """Translations `(7, 2)`: none, and six so far from it and from each other; eight at a time are scored at once."""
    angle = np.radians(60.0 * np.arange(6))
    ring = step_px * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([np.zeros((1, 2)), ring])


def score(
    volume_ft: Array, targets: Targets, modes: Modes, offsets: Array, shifts_px: Array, *, evidence_frac: float
) -> Scored:
    """Log-probability of each point of the modes' lattices, summed over translations.

    References
    ----------
    Posterior: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 5.
    """
    alive = modes.share > 0.0
    start = Poses(modes.rotations, modes.shifts_px, np.where(alive, 0.0, -np.inf))
    cross, square = local_scores(volume_ft, targets, start, neighbours=vector_rotation(offsets), shifts_px=shifts_px)
    joint = evidence_frac * (cross - square[..., None])
    top = joint.max(axis=3, keepdims=True)
    weights = np.exp(joint - top)
    total = weights.sum(axis=3)
    mass = (top[..., 0] + np.log(total)).astype(np.float64)
    mass[~alive] = -np.inf
    found = modes.shifts_px[:, :, None] + (weights @ shifts_px) / total[..., None]
    return Scored(offsets, claimed(modes, offsets, mass), found)


def claimed(modes: Modes, offsets: Array, log_mass: Array) -> Array:
    """Where lattices of two modes overlap, points count for the nearer mode alone."""
    there, mass = modes.share > 0.0, log_mass.copy()
    own = np.degrees(np.linalg.norm(offsets, axis=1))
    for one in range(there.shape[1]):
        for other in range(there.shape[1]):
            both = there[:, one] & there[:, other]
            if one == other or not both.any():
                continue
            rotations = vector_rotation(offsets)[None] @ modes.rotations[both, one][:, None]
            far = angular_distance_deg(rotations, modes.rotations[both, other][:, None])
            nearer = far < own - 1e-9 if other > one else far <= own + 1e-9
            mass[both, one] = np.where(nearer, -np.inf, mass[both, one])
    return np.asarray(mass)


def shares_of(log_mass: Array) -> Array:
    """Shares `(m, ...)` of each image's mass."""
    flat = log_mass.reshape(len(log_mass), -1)
    shares = np.exp(flat - flat.max(axis=1, keepdims=True))
    return np.asarray((shares / shares.sum(axis=1, keepdims=True)).reshape(log_mass.shape))


def summed(modes: Modes, scored: Scored) -> Modes:
    """Mean pose, share and width of each mode, best first; those that hold next to nothing are left out."""
    shares = shares_of(scored.log_mass)
    mass = shares.sum(axis=2)
    part = shares / np.maximum(mass, 1e-300)[..., None]
    mean = part @ scored.offsets
    square = np.einsum("mkc,cx->mkx", part, scored.offsets**2) - mean**2
    width = np.degrees(np.sqrt(np.maximum(square.mean(axis=2), 0.0)))
    shifts = np.einsum("mkc,mkcx->mkx", part, scored.shifts_px)
    kept = np.where(mass >= LEAST_MODE, mass, 0.0)
    order = np.argsort(-kept, axis=1, kind="stable")
    rows = np.arange(len(kept))[:, None]
    kept /= kept.sum(axis=1, keepdims=True)
    rotations = vector_rotation(mean) @ modes.rotations
    return Modes(*(values[rows, order] for values in (rotations, shifts, kept, width)))


def octants(modes: Modes, scored: Scored, *, least_deg: float, n_most: int) -> tuple[Array, Array, Array]:
    """Poses that stand for the posterior of each image: the means of the eight octants of wide modes, else the modes.

    Parameters
    ----------
    modes
        Around which was scored.
    least_deg
        Modes narrower than this are one pose.
    n_most
        Poses an image, the best.

    Returns
    -------
    `(m, n_most, 3, 3)`, `(m, n_most, 2)` and shares `(m, n_most)`.
    """
    shares = shares_of(scored.log_mass)
    m, k, _ = shares.shape
    mass = shares.sum(axis=2)
    mean = (shares @ scored.offsets) / np.maximum(mass, 1e-300)[..., None]
    away = scored.offsets - mean[:, :, None]
    spread = np.sqrt((shares[..., None] * away**2).sum(axis=2).mean(axis=2) / np.maximum(mass, 1e-300))
    wide = np.degrees(spread) > least_deg
    place = ((away > 0.0) @ np.array([1, 2, 4])) * wide[..., None]
    poses, shifts, share = np.zeros((m, k, 8, 3)), np.zeros((m, k, 8, 2)), np.zeros((m, k, 8))
    for octant in range(8):
        mine = shares * (place == octant)
        share[:, :, octant] = mine.sum(axis=2)
        safe = np.maximum(share[:, :, octant], 1e-300)[..., None]
        poses[:, :, octant] = (mine @ scored.offsets) / safe
        shifts[:, :, octant] = np.einsum("mkc,mkcx->mkx", mine, scored.shifts_px) / safe
    rotations = vector_rotation(poses) @ modes.rotations[:, :, None]
    order = np.argsort(-share.reshape(m, -1), axis=1, kind="stable")[:, :n_most]
    rows = np.arange(m)[:, None]
    best = share.reshape(m, -1)[rows, order]
    best = np.where(best >= 0.2 * LEAST_MODE, best, 0.0)
    return (
        rotations.reshape(m, -1, 3, 3)[rows, order],
        shifts.reshape(m, -1, 2)[rows, order],
        best / best.sum(axis=1, keepdims=True),
    )


def _apart(modes: Modes, within_deg: Array) -> Modes:
    """Modes that no lattice of a better one reaches, `(m,)` that far; those that one reaches are part of it."""
    share = np.array(modes.share, dtype=np.float64)
    for one in range(share.shape[1]):
        far = angular_distance_deg(modes.rotations, modes.rotations[:, one][:, None])
        reached = (far < within_deg[:, None]) & (share[:, one] > 0.0)[:, None]
        reached[:, : one + 1] = False
        share[:, one] += np.where(reached, share, 0.0).sum(axis=1)
        share[reached] = 0.0
    rotations, shifts, width = (np.array(values, dtype=np.float64) for values in (modes[0], modes[1], modes[3]))
    return Modes(rotations, shifts, share, width)


def _verdict(scored: Scored, level: int, moved_deg: Array, *, first: bool) -> tuple[Array, Array]:
    """How the power of each image's step has to change, and the share `(m,)` at the rim of its lattices."""
    shares = shares_of(scored.log_mass)
    radius = np.linalg.norm(scored.offsets, axis=1)
    rim = shares[:, :, radius > 0.99 * radius.max()].sum(axis=(1, 2))
    top = shares.max(axis=(1, 2))
    # The best point of a lattice of 2, 2.5 deviations holds 0.45, 0.7.
    change = np.where(top > 0.7, -3, np.where(top > 0.45, -2, -1))
    change = np.where((top > TOO_COARSE) & (level > 0), change, _ENOUGH)
    if first:
        # Off its centre by a step, a lattice is laid anew, and so is one too small.
        off = moved_deg > np.degrees(scored.offsets[:, 0].max()) / 2.0
        wider = np.where(rim > 2.0 * TOO_SMALL, 2, np.where(rim > TOO_SMALL, 1, np.where(off, 0, _ENOUGH)))
        change = np.where(change == _ENOUGH, wider, change)
    return change, rim


def follow(
    volume_ft: Array,
    targets: Targets,
    modes: Modes,
    *,
    least_step_deg: float,
    shift_step_px: float,
    evidence_frac: float,
    n_insert: int,
) -> Followed:
    """Find the posterior around modes, each image on a lattice as fine as its posterior asks for.

    Parameters
    ----------
    least_step_deg
        Finer steps do not matter at the map's resolution.
    shift_step_px
        Of the translations, a hexagon around each mode's.
    """
    m = len(modes.share)
    # Powers of the square root of two: images of like steps are scored together.
    steps = STEP_SIGMA * modes.width_deg[:, 0] / least_step_deg
    level = np.clip(np.rint(2.0 * np.log2(np.maximum(steps, 1.0))), 0, _TOP_LEVEL).astype(np.int64)
    wanted = level.copy()
    shifts = hexagon(shift_step_px)
    found = _apart(modes, _WITHIN_STEPS * least_step_deg * 2.0 ** (0.5 * level))
    insert = (np.zeros((m, n_insert, 3, 3)), np.zeros((m, n_insert, 2)), np.zeros((m, n_insert)))
    rim, left, n_passes = np.zeros(m), np.ones(m, bool), 0
    while left.any():
        n_passes += 1
        for number in np.unique(level[left]):
            rows = np.flatnonzero(left & (level == number))
            offsets = lattice(least_step_deg * 2.0 ** (0.5 * number))
            around = Modes(*(values[rows] for values in found))
            scored = score(volume_ft, targets.pick(rows), around, offsets, shifts, evidence_frac=evidence_frac)
            fresh = summed(around, scored)
            parts = octants(around, scored, least_deg=0.7 * least_step_deg, n_most=n_insert)
            for whole, part in zip((*found, *insert), (*fresh, *parts), strict=True):
                whole[rows] = part
            moved_deg = angular_distance_deg(fresh.rotations[:, 0], around.rotations[:, 0])
            change, rim[rows] = _verdict(scored, int(number), moved_deg, first=n_passes == 1)
            left[rows] = (change != _ENOUGH) & (n_passes < _MOST_PASSES)
            wanted[rows] = number + np.where(change != _ENOUGH, change, 0)
        level = np.clip(wanted, 0, _TOP_LEVEL)
    return Followed(found, insert, rim)
