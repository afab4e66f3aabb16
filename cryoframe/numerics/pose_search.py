"""Poses of images against a map: global and local scoring over rotation and translation; reconstruction is elsewhere.

Every score is the log-likelihood gain ``Re sum conj(Y) P - sum W |P|^2`` over the independent frequencies of a half
plane, with ``Y = 2 C X / sigma^2`` and ``W = C^2 / sigma^2``; where the map's scale is not known, its maximum over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import namespace, native
from cryoframe.numerics.interpolate import at_points
from cryoframe.numerics.projection import project_points
from cryoframe.numerics.reconstruction import shift_at_points
from cryoframe.numerics.rotations import vector_rotation

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Targets:
    """What the images ask of a projection, at chosen frequencies.

    Attributes
    ----------
    values
        `(m, p)` complex64: ``2 C X / sigma^2``.
    weights
        `(m, p)` float32: ``C^2 / sigma^2``.
    points
        `(p, 2)` int32 (kx, ky) [cycles per box].
    box_px
        Side of the images.
    free_scale
        True where the map's scale is unknown: scores are then maximal over a positive scale of each image.
    """

    values: Array
    weights: Array
    points: Array
    box_px: int
    free_scale: bool = False

    def pick(self, index: Array | slice) -> Targets:
        """Return the targets of some images."""
        return replace(self, values=self.values[index], weights=self.weights[index])


@dataclass(frozen=True)
class Poses:
    """Candidate poses of each image, best first.

    Attributes
    ----------
    rotations
        `(m, k, 3, 3)`.
    shifts_px
        `(m, k, 2)`: translation to apply to the image (dx, dy).
    scores
        `(m, k)`: log-likelihood gain over no particle.
    """

    rotations: Array
    shifts_px: Array
    scores: Array


def make_targets(
    images_ft: Array, ctfs: Array, noise_power: Array, points: Array, *, free_scale: bool = False
) -> Targets:
    """Weigh images for scoring.

    Parameters
    ----------
    images_ft
        `(m, n, n//2 + 1)` complex64, centred half transforms.
    ctfs
        `(m, n, n//2 + 1)` float32.
    noise_power
        `(m, n//2 + 1)` or `(n//2 + 1,)`: expected ``|noise|^2`` of a transform's value, by ring.
    points
        `(p, 2)` from `interpolate.half_points`.
    free_scale
        As in :class:`Targets`.

    References
    ----------
    Gaussian likelihood of a half plane: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 1.
    """
    n = images_ft.shape[-2]
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    variance = np.atleast_2d(np.asarray(noise_power, dtype=np.float32))[:, rings]
    ctf_values = at_points(ctfs, points)
    values = (2.0 * at_points(images_ft, points) * ctf_values / variance).astype(np.complex64)
    return Targets(values, (ctf_values**2 / variance).astype(np.float32), points, n, free_scale)


def shift_grid(range_px: float, step_px: float) -> npt.NDArray[np.float64]:
    """Translations `(t, 2)` on a square lattice through zero, within a disc of radius `range_px`."""
    reach = int(np.floor(range_px / step_px + 1e-9))
    axis = np.arange(-reach, reach + 1) * step_px
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.asarray(grid[np.hypot(grid[:, 0], grid[:, 1]) <= range_px + 1e-9], dtype=np.float64)


def rotation_neighbours(step_deg: float, per_axis: int) -> npt.NDArray[np.float64]:
    """Small rotations `(per_axis**3, 3, 3)`: a cubic lattice of rotation vectors with spacing `step_deg`, centred.

    References
    ----------
    Definition of the rotation vector.
    """
    axis = (np.arange(per_axis) - (per_axis - 1) / 2.0) * np.radians(step_deg)
    vectors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return vector_rotation(vectors)


def combine(cross: Array, square: Array, *, free_scale: bool) -> Array:
    """Score from ``cross = Re sum conj(Y) P`` and ``square = sum W |P|^2``; free scale: ``cross^2 / (4 square)``."""
    if not free_scale:
        return np.asarray(cross - square)
    positive = np.maximum(cross, 0.0)
    return np.asarray(positive * positive / (4.0 * np.maximum(square, 1e-30)))


def _as_real(values: Array) -> Array:
    """`(..., p)` complex as `(..., 2 p)` float32, so that a real product is the real part of the complex one."""
    return np.ascontiguousarray(values, dtype=np.complex64).view(np.float32)


def search_grid(
    volume_ft: Array,
    targets: Targets,
    rotations: Array,
    shifts_px: Array,
    *,
    n_keep: int,
    padding: int = 2,
    centres_px: Array | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Poses:
    """Score every image against every rotation and translation of a grid, as matrix products.

    Parameters
    ----------
    volume_ft
        `(N, N, N//2 + 1)` complex64 from `projection.prepare_volume`.
    targets
        Of m images.
    rotations
        `(r, 3, 3)`.
    shifts_px
        `(t, 2)`.
    n_keep
        Rotations kept for each image, each with its best translation.
    padding
        Of `volume_ft`.
    centres_px
        `(m, 2)`: translations are searched around these; zero when absent.
    on_batch
        Called with the number of images done; may raise to stop.

    Returns
    -------
    Poses with ``k = min(n_keep, r)``.

    References
    ----------
    Projection matching: Penczek, Grassucci & Frank, Ultramicroscopy 53, 251 (1994).
    """
    slices = project_points(volume_ft, rotations, targets.points, padding=padding)
    index, shifts, scores = search_table(
        targets, slices, shifts_px, n_keep=n_keep, centres_px=centres_px, on_batch=on_batch
    )
    return Poses(np.asarray(rotations, dtype=np.float64)[index], shifts, scores)


def search_table(
    targets: Targets,
    slices: Array,
    shifts_px: Array,
    *,
    n_keep: int = 1,
    centres_px: Array | None = None,
    group_size: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> tuple[Array, Array, Array]:
    """Score every image against every row of a table of references and every translation.

    Parameters
    ----------
    targets
        Of m images.
    slices
        `(r, p)` complex64: references at the targets' points.
    shifts_px
        `(t, 2)`.
    n_keep
        References kept for each image, each with its best translation.
    centres_px
        `(m, 2)`: translations are searched around these; zero when absent.
    group_size
        Where not 0, the best of each group of so many consecutive references is kept instead, in the groups' order.
    on_batch
        Called with the number of images done; may raise to stop.

    Returns
    -------
    `(m, k)` rows of the table, best first; `(m, k, 2)` translations; `(m, k)` scores.

    References
    ----------
    As a matrix product: definition.
    """
    n_images = len(targets.values)
    n_keep = len(slices) // group_size if group_size else min(n_keep, len(slices))
    table, power = _as_real(slices).T.copy(), (slices.real**2 + slices.imag**2).T.astype(np.float32)
    if centres_px is not None:
        moved = shift_at_points(targets.values, targets.points, centres_px, n=targets.box_px)
        targets = replace(targets, values=moved)
    ramps = shift_at_points(
        np.ones((len(shifts_px), len(targets.points)), np.complex64), targets.points, shifts_px, n=targets.box_px
    )
    # Some 64 MB of scores at a time stay in the fast part of memory.
    batch = max(1, int(2**24 // (len(slices) * len(shifts_px))))
    kept = [np.empty((n_images, n_keep), dtype=kind) for kind in (np.int64, np.int64, np.float32)]
    for start in range(0, n_images, batch):
        part = targets.pick(slice(start, start + batch))
        result = _score_batch(part, table, power, ramps, n_keep=n_keep, group_size=group_size)
        for whole, piece in zip(kept, result, strict=True):
            whole[start : start + batch] = piece
        if on_batch is not None:
            on_batch(min(start + batch, n_images))
    found = np.asarray(shifts_px, dtype=np.float64)[kept[1]]
    return kept[0], found if centres_px is None else found + centres_px[:, None], kept[2]


def _score_batch(
    part: Targets, table: Array, power: Array, ramps: Array, *, n_keep: int, group_size: int
) -> tuple[Array, Array, Array]:
    """Best references (index, index of translation, score), best first, of a few images."""
    n_images, n_shifts = len(part.values), len(ramps)
    moved = (part.values[:, None] * ramps[None]).reshape(n_images * n_shifts, -1)
    cross = (_as_real(moved) @ table).reshape(n_images, n_shifts, -1)
    best = combine(cross.max(axis=1), part.weights @ power, free_scale=part.free_scale)
    if group_size:
        order = best.reshape(n_images, n_keep, group_size).argmax(axis=2) + group_size * np.arange(n_keep)
    else:
        order = _largest(best, n_keep)
    rows = np.arange(n_images)[:, None]
    return order, cross[rows, :, order].argmax(axis=-1), best[rows, order]


def _largest(scores: Array, n_keep: int) -> Array:
    """Indices `(m, n_keep)` of the largest scores of each row, largest first; ties in the order of the row."""
    if n_keep < scores.shape[1]:
        chosen = np.sort(np.argpartition(-scores, n_keep - 1, axis=1)[:, :n_keep], axis=1)
    else:
        chosen = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(chosen, order, axis=1))


def without_hopeless(poses: Poses, gap: float) -> Poses:
    """Mark candidates, by a score of -inf, that lie more than `gap` below their image's best.

    References
    ----------
    Pruning by likelihood: adaptive sampling, Scheres, J. Struct. Biol. 180, 519 (2012), section 2.3.
    """
    best = poses.scores.max(axis=1, keepdims=True)
    return replace(poses, scores=np.where(poses.scores < best - gap, -np.inf, poses.scores))


def search_local(
    volume_ft: Array,
    targets: Targets,
    start: Poses,
    *,
    neighbours: Array,
    shifts_px: Array,
    n_keep: int,
    padding: int = 2,
) -> Poses:
    """Score small changes of each image's candidate poses.

    Parameters
    ----------
    volume_ft
        As in :func:`search_grid`.
    targets
        Of m images.
    start
        `(m, k)` candidates; -inf scores mark candidates to leave out.
    neighbours
        `(c, 3, 3)` rotations applied after the candidate's: ``A_new = D A``; from :func:`rotation_neighbours`.
    shifts_px
        `(t, 2)` added to the candidate's.
    n_keep
        Poses kept for each image; all translations of a rotation count as poses.
    padding
        Of `volume_ft`.

    Returns
    -------
    Poses with ``n_keep`` candidates (fewer where fewer were scored), best first.

    References
    ----------
    Adaptive sampling: Scheres, J. Struct. Biol. 180, 519 (2012), section 2.3.
    """
    if start.rotations.ndim != 4:
        raise InvalidInput(
            f"start rotations have shape {start.rotations.shape}",
            expected="(m, k, 3, 3)",
            remedy="Add an axis for candidates.",
        )
    cross, square = local_scores(volume_ft, targets, start, neighbours=neighbours, shifts_px=shifts_px, padding=padding)
    scores = combine(cross, square[..., None], free_scale=targets.free_scale)
    scores = np.where(np.isfinite(start.scores)[..., None, None], scores, -np.inf)
    flat = scores.reshape(len(scores), -1)
    order = _largest(flat, n_keep)
    candidate, child, shift = np.unravel_index(order, scores.shape[1:])
    rows = np.arange(len(scores))[:, None]
    rotations = np.asarray(neighbours)[child] @ start.rotations[rows, candidate]
    found = start.shifts_px[rows, candidate] + np.asarray(shifts_px)[shift]
    return Poses(rotations, found, flat[rows, order])


def local_scores(
    volume_ft: Array, targets: Targets, start: Poses, *, neighbours: Array, shifts_px: Array, padding: int = 2
) -> tuple[Array, Array]:
    """Terms of the score of small changes of candidate poses: ``Re sum conj(Y) P`` and ``sum W |P|^2``.

    Parameters
    ----------
    volume_ft, targets, start, neighbours, shifts_px, padding
        As in :func:`search_local`.

    Returns
    -------
    `(m, k, c, t)` and `(m, k, c)` float32; zeros for candidates left out.

    References
    ----------
    Definition.
    """
    xp = namespace(volume_ft)
    fast = native(xp, "pose_search")
    score = generic_local_scores if fast is None else fast.local_scores
    cross, square = score(xp, volume_ft, targets, start, neighbours=neighbours, shifts_px=shifts_px, padding=padding)
    return np.asarray(cross), np.asarray(square)


def generic_local_scores(
    xp: ModuleType,
    volume_ft: Array,
    targets: Targets,
    start: Poses,
    *,
    neighbours: Array,
    shifts_px: Array,
    padding: int,
) -> tuple[Array, Array]:
    """Reference of the local scores: cross `(m, k, c, t)` and square `(m, k, c)` terms."""
    m, k = start.scores.shape
    c, t = len(neighbours), len(shifts_px)
    cross, square = np.zeros((m, k, c, t), np.float32), np.zeros((m, k, c), np.float32)
    for i in range(m):
        for j in range(k):
            slices = project_points(volume_ft, neighbours @ start.rotations[i, j], targets.points, padding=padding)
            target = xp.broadcast_to(targets.values[i], (t, len(targets.points)))
            moved = shift_at_points(target, targets.points, start.shifts_px[i, j] + shifts_px, n=targets.box_px)
            cross[i, j] = _as_real(slices) @ _as_real(moved).T
            square[i, j] = (xp.abs(slices) ** 2) @ targets.weights[i]
    return cross, square
