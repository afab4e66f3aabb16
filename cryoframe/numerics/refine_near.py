"""Expectation of a half-set's images near poses already found, and the sums of its next map; block by block.

What a search over all orientations handed on is looked at once with half its step; then the posterior of each image is
summed on lattices as fine as it is wide (`pose_lattice`), around each of its modes, and the image is inserted at poses
that stand for all of it. What such lattices do not reach is told by what their rim holds (`rim`), a few hundredths. The
whole search is in `refine_whole`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import (
    insertion,
    pose_lattice,
    pose_search,
    projection,
    reconstruction,
    residuals,
    sums_symmetry,
)
from cryoframe.numerics.interpolate import half_points
from cryoframe.numerics.pose_lattice import Modes
from cryoframe.numerics.refine_images import ImageSet
from cryoframe.numerics.refine_whole import Spectra
from cryoframe.numerics.rotations import angular_distance_deg

Array = npt.NDArray[Any]

#: Candidates whose posterior is below exp(-this) of the best one's are not followed: exp(-7) is 1e-3.
HOPELESS = 7.0
#: Modes of a posterior that are followed, at most.
N_MODES = 4
#: Poses an image is summed at, at most.
N_INSERT = 8
# Candidates this near to each other are one mode, and share one mean pose: of a whole search, and of its first halves.
_MODE_DEG, _APART_DEG = 4.0, 12.0
# Modes of the first look that hold less are not followed.
_LEAST_FIRST = 5e-3
# Halves of cells that modes are made of, with their translations.
_N_HALVES = 256


class Plan(NamedTuple):
    """A near search: rings scored; finest steps that matter; step and rings of the first look at candidates, or 0."""

    r_max: float
    least_step_deg: float
    shift_step_px: float
    first_step_deg: float = 0.0
    first_r_max: float = 0.0


class Near(NamedTuple):
    """Outcome of a near search: `modes`; `insert`, the poses to sum images at; `(m,)` the share at the `rim`."""

    modes: Modes
    insert: Modes
    rim: Array


def expect(
    images: ImageSet,
    volume: Array,
    spectra: Spectra,
    start: pose_search.Poses | Modes,
    *,
    plan: Plan,
    on_block: Callable[[int], None] = lambda done: None,
) -> Near:
    """Find the posterior near candidates of a search over all orientations, or near modes.

    Parameters
    ----------
    images
        Of one half-set.
    volume
        `(s, s, s)`: its map, whose transform is on the scale of the images' own.
    spectra
        Noise and scale of images.
    start
        Of m images: candidates with log-probabilities, where -inf marks none, or modes.
    plan
        Steps and rings.
    on_block
        Called with the number of images done; may raise to stop.
    """
    volume_ft = projection.prepare_volume(volume)
    points = half_points(images.box_px, r_min=1.0, r_max=plan.r_max)
    parts = []
    for block in images.blocks():
        targets = _targets(images, block, points, start.shifts_px[block, 0], spectra)
        if isinstance(start, Modes):
            modes, widen = Modes(*(values[block] for values in start)), 1.0
        else:
            own = pose_search.Poses(start.rotations[block], start.shifts_px[block], start.scores[block])
            modes, widen = _first_look(volume_ft, targets, own, plan, images.mask_frac), 1.5
        found = pose_lattice.follow(
            volume_ft,
            targets,
            modes,
            least_step_deg=plan.least_step_deg,
            shift_step_px=plan.shift_step_px * widen,
            evidence_frac=images.mask_frac,
            n_insert=N_INSERT,
        )
        parts.append((*found.modes, *found.insert, found.rim))
        on_block(block.stop)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Near(Modes(*columns[:4]), Modes(columns[4], columns[5], columns[6], np.zeros_like(columns[6])), columns[7])


def _first_look(
    volume_ft: Array, targets: pose_search.Targets, start: pose_search.Poses, plan: Plan, evidence_frac: float
) -> Modes:
    """Modes of the halves of the cells that candidates of a lattice stand for."""
    inside = np.hypot(targets.points[:, 0], targets.points[:, 1]) <= plan.first_r_max
    scores = np.where(start.scores >= start.scores.max(axis=1, keepdims=True) - HOPELESS, start.scores, -np.inf)
    found = pose_search.search_local(
        volume_ft,
        targets if inside.all() else _inner(targets, inside),
        pose_search.Poses(start.rotations, start.shifts_px, scores),
        neighbours=pose_search.rotation_neighbours(plan.first_step_deg, 2),
        shifts_px=pose_search.shift_grid(1.5, 1.0),
        n_keep=_N_HALVES,
    )
    modes = modes_of(found, evidence_frac=evidence_frac, within_deg=_APART_DEG)
    share = np.where(modes.share >= _LEAST_FIRST, modes.share, 0.0)
    # The lattice laid next must reach the corners of a half.
    return modes._replace(share=share, width_deg=np.maximum(modes.width_deg, 0.25 * plan.first_step_deg))


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


def modes_of(poses: pose_search.Poses, *, evidence_frac: float, within_deg: float = _MODE_DEG) -> Modes:
    """Mean pose, share and width of each mode of the posterior of scored candidates.

    References
    ----------
    As `pose_posterior.posterior_mean`, mode by mode.
    """
    m = len(poses.scores)
    gain = evidence_frac * (poses.scores - poses.scores[:, :1])
    weights = np.exp(np.where(np.isfinite(gain), gain, -np.inf))
    weights /= weights.sum(axis=1, keepdims=True)
    rotations = np.tile(np.eye(3), (m, N_MODES, 1, 1))
    shifts, share, width = np.zeros((m, N_MODES, 2)), np.zeros((m, N_MODES)), np.zeros((m, N_MODES))
    rows = np.arange(m)
    for mode in range(N_MODES):
        top = weights.argmax(axis=1)
        mine = weights * (angular_distance_deg(poses.rotations, poses.rotations[rows, top][:, None]) <= within_deg)
        total = mine.sum(axis=1)
        alive = total > 1e-4
        if not alive.any():
            break
        part = mine[alive] / total[alive, None]
        left, _, right = np.linalg.svd(np.einsum("mk,mkij->mij", part, poses.rotations[alive]))
        rotations[alive, mode] = left @ right
        shifts[alive, mode] = np.einsum("mk,mkj->mj", part, poses.shifts_px[alive])
        share[alive, mode] = total[alive]
        away = angular_distance_deg(poses.rotations[alive], rotations[alive, mode][:, None])
        width[alive, mode] = np.sqrt((part * away**2).sum(axis=1) / 3.0)
        weights = np.where(mine > 0, 0.0, weights)
    return Modes(rotations, shifts, share / share.sum(axis=1, keepdims=True), width)


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
            some = np.flatnonzero(share > 0.0)
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
