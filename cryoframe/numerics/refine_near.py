"""Expectation of a half-set's images near poses already found, and the sums of its next map; block by block.

Candidates are followed level by level, each level with smaller steps and, where the map supports it, to a finer
resolution. The whole search is in `refine_whole`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import insertion, pose_search, projection, reconstruction, residuals, sums_symmetry
from cryoframe.numerics.interpolate import half_points
from cryoframe.numerics.refine_images import ImageSet
from cryoframe.numerics.refine_whole import Spectra
from cryoframe.numerics.rotations import angular_distance_deg

Array = npt.NDArray[Any]

#: Candidates whose posterior is below exp(-this) of the best one's are not followed: exp(-12) is 6e-6.
HOPELESS = 12.0
#: Orientations an image is inserted at, at most.
N_MODES = 4
# Candidates this near to each other are one mode, and share one mean pose.
_MODE_DEG = 4.0


class Stage(NamedTuple):
    """One level: a lattice of rotations and translations around each candidate, the rings scored, what is kept."""

    step_deg: float
    per_axis: int
    shift_step_px: float
    r_max: float
    n_keep: int


class Modes(NamedTuple):
    """Poses that hold the posterior of each image: `rotations` `(m, k, 3, 3)`, `shifts_px` `(m, k, 2)`, `share`."""

    rotations: Array
    shifts_px: Array
    share: Array

    def candidates(self) -> pose_search.Poses:
        """Start of another search."""
        with np.errstate(divide="ignore"):
            return pose_search.Poses(self.rotations, self.shifts_px, np.log(self.share))


def expect(
    images: ImageSet,
    volume: Array,
    spectra: Spectra,
    start: pose_search.Poses,
    *,
    stages: Sequence[Stage],
    on_block: Callable[[int], None] = lambda done: None,
) -> tuple[Modes, Array]:
    """Find the posterior near candidates.

    Parameters
    ----------
    images
        Of one half-set.
    volume
        `(s, s, s)`: its map, whose transform is on the scale of the images' own.
    spectra
        Noise and scale of images.
    start
        `(m, k)` candidates with log-probabilities; -inf marks none.
    stages
        One after the other.
    on_block
        Called with the number of images done; may raise to stop.

    Returns
    -------
    Modes, and `(m,)` the log-likelihood gain of each image's best pose over no particle.
    """
    volume_ft = projection.prepare_volume(volume)
    parts, gains = [], []
    for block in images.blocks():
        candidates = pose_search.Poses(
            start.rotations[block], start.shifts_px[block], start.scores[block] / images.mask_frac
        )
        shifts = candidates.shifts_px[:, 0]
        r_max = max(stage.r_max for stage in stages)
        points = half_points(images.box_px, r_min=1.0, r_max=r_max)
        whole = _targets(images, block, points, shifts, spectra)
        radius = np.hypot(points[:, 0], points[:, 1])
        for stage in stages:
            inside = radius <= stage.r_max
            targets = whole if inside.all() else _inner(whole, inside)
            candidates = pose_search.search_local(
                volume_ft,
                targets,
                pose_search.without_hopeless(candidates, HOPELESS / images.mask_frac),
                neighbours=pose_search.rotation_neighbours(stage.step_deg, stage.per_axis),
                shifts_px=pose_search.shift_grid(1.5 * stage.shift_step_px, stage.shift_step_px),
                n_keep=stage.n_keep,
            )
        parts.append(modes_of(candidates, evidence_frac=images.mask_frac))
        gains.append(images.mask_frac * candidates.scores[:, 0])
        on_block(block.stop)
    return Modes(*(np.concatenate(column) for column in zip(*parts, strict=True))), np.concatenate(gains)


def _targets(images: ImageSet, block: slice, points: Array, shifts_px: Array, spectra: Spectra) -> pose_search.Targets:
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    over = images.ctfs(block, points) * spectra.scale[block].astype(np.float32)[:, None]
    noise = spectra.noise[images.groups[block]][:, rings].astype(np.float32)
    values = images.values(block, points, shifts_px)
    return pose_search.Targets(
        (2.0 * values * over / noise).astype(np.complex64), over**2 / noise, points, images.box_px
    )


def _inner(targets: pose_search.Targets, inside: Array) -> pose_search.Targets:
    return pose_search.Targets(
        np.ascontiguousarray(targets.values[:, inside]),
        np.ascontiguousarray(targets.weights[:, inside]),
        targets.points[inside],
        targets.box_px,
    )


def modes_of(poses: pose_search.Poses, *, evidence_frac: float) -> Modes:
    """Mean pose and share of each mode of the posterior of scored candidates.

    References
    ----------
    As `pose_posterior.posterior_mean`, mode by mode.
    """
    m = len(poses.scores)
    gain = evidence_frac * (poses.scores - poses.scores[:, :1])
    weights = np.exp(np.where(np.isfinite(gain), gain, -np.inf))
    weights /= weights.sum(axis=1, keepdims=True)
    rotations = np.tile(np.eye(3), (m, N_MODES, 1, 1))
    shifts, share = np.zeros((m, N_MODES, 2)), np.zeros((m, N_MODES))
    rows = np.arange(m)
    for mode in range(N_MODES):
        top = weights.argmax(axis=1)
        mine = weights * (angular_distance_deg(poses.rotations, poses.rotations[rows, top][:, None]) <= _MODE_DEG)
        total = mine.sum(axis=1)
        alive = total > 1e-4
        if not alive.any():
            break
        part = mine[alive] / total[alive, None]
        left, _, right = np.linalg.svd(np.einsum("mk,mkij->mij", part, poses.rotations[alive]))
        rotations[alive, mode] = left @ right
        shifts[alive, mode] = np.einsum("mk,mkj->mj", part, poses.shifts_px[alive])
        share[alive, mode] = total[alive]
        weights = np.where(mine > 0, 0.0, weights)
    return Modes(rotations, shifts, share / share.sum(axis=1, keepdims=True))


def accumulate(
    images: ImageSet,
    modes: Modes,
    spectra: Spectra,
    *,
    operators: Array,
    side: int,
    r_max: float,
) -> insertion.Accumulator:
    """Sum images at the modes of their posterior.

    Parameters
    ----------
    side, r_max
        Of the map [px]; highest frequency that is summed [cycles per box].

    References
    ----------
    Scheres, J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006, eq. 8.
    """
    sums = insertion.empty_accumulator(side)
    exact, others = sums_symmetry.split_group(operators)
    points = half_points(images.box_px, r_max=min(r_max, side / 2 - 1))
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    for block in images.blocks():
        over = images.ctfs(block, points) * spectra.scale[block].astype(np.float32)[:, None]
        noise = spectra.noise[images.groups[block]][:, rings].astype(np.float32)
        values = images.values(block, points, modes.shifts_px[block][:, 0]) * (over / noise)
        weights = over**2 / noise
        for mode in range(modes.share.shape[1]):
            share = modes.share[block][:, mode]
            some = np.flatnonzero(share > 1e-3)
            if not len(some):
                break
            scale = share[some].astype(np.float32)[:, None]
            moved = reconstruction.shift_at_points(
                values[some], points, modes.shifts_px[block][some, mode], n=images.box_px
            )
            insertion.insert_points(
                sums,
                moved * scale,
                weights[some] * scale,
                rotations=insertion.symmetric_rotations(modes.rotations[block][some, mode], others),
                points=points,
            )
    sums_symmetry.symmetrise(sums, exact)
    return sums


def remains(
    images: ImageSet, volume: Array, modes: Modes, spectra: Spectra, *, r_scale: float
) -> tuple[Array, Array, Array]:
    """Noise spectra by group, and what the map says of the scale of each image.

    Parameters
    ----------
    r_scale
        Rings up to this one tell the scale.

    Returns
    -------
    `(groups, n//2 + 1)`; `(m,)` and `(m,)`: ``sum Re conj(X) C P / sigma^2`` and ``sum C^2 |P|^2 / sigma^2``.

    References
    ----------
    Noise: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 4; scale: least squares, definition.
    """
    volume_ft = projection.prepare_volume(volume)
    n = images.box_px
    side = volume.shape[0]
    points = half_points(n, r_max=min(n, side) / 2 - 1)
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    n_rings = n // 2 + 1
    power = np.zeros((images.n_groups, n_rings))
    cross, square = np.zeros(len(images)), np.zeros(len(images))
    telling = (rings >= 1) & (rings <= r_scale)
    for block in images.blocks():
        best = modes.rotations[block][:, 0], modes.shifts_px[block][:, 0]
        moved = reconstruction.shift_at_points(images.values(block, points, best[1]), points, best[1], n=n)
        shadow = images.ctfs(block, points) * projection.project_points(volume_ft, best[0], points)
        noise = spectra.noise[images.groups[block]][:, rings]
        cross[block] = ((moved.conj() * shadow).real / noise)[:, telling].sum(axis=1, dtype=np.float64)
        square[block] = (np.abs(shadow) ** 2 / noise)[:, telling].sum(axis=1, dtype=np.float64)
        rest = moved - shadow * spectra.scale[block].astype(np.float32)[:, None]
        np.add.at(power, images.groups[block], residuals.ring_means(np.abs(rest) ** 2, points, n_rings))
    mean = power / np.maximum(np.bincount(images.groups, minlength=images.n_groups), 1)[:, None]
    last = int(rings.max())
    mean[:, last + 1 :] = spectra.noise[:, last + 1 :]
    return np.maximum(mean, 1e-6 * mean.max(axis=1, keepdims=True)), cross, square
