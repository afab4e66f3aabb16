"""Expectation over all orientations of a half-set's images against its map, and the sums of its next map.

The search is that of `angular_search`: every direction of the asymmetric unit, in-plane angle and translation is
scored, to the resolution the last map supports; no pose is pruned before it has been scored. Afterwards images whose
posterior few candidates hold, but for `LEFT_OUT`, are summed at these; all others over every pose of the lattice
(`angular_soft`). What the sums leave out of each posterior (`lost`) is measured, and never more than that. Near
searches are in `refine_near`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import angular_search, angular_soft, angular_sums, insertion, polar, projection
from cryoframe.numerics.polar_images import cropped_side
from cryoframe.numerics.pose_search import Poses, shift_grid
from cryoframe.numerics.refine_images import ImageSet
from cryoframe.numerics.rotations import euler_to_matrix
from cryoframe.numerics.symmetry import directions_in_asymmetric_unit, rotation_matrices

Array = npt.NDArray[Any]

#: Orientations of an image that are handed on to a near search, at most; what lies beyond them is told.
N_KEPT = 12
#: Share of a posterior that candidates may leave out: where more is left, all poses are summed.
LEFT_OUT = 1e-4
# Candidates an image is summed at one by one, at most, and how far below the best they may lie: exp(-18) is 1.5e-8.
_N_MOST, _DEEPEST = 512, 18.0
# What poses too improbable to be counted may hold of a posterior, all together.
_BELOW_REACH = 1e-5


class Lattice(NamedTuple):
    """What is searched: rings scored and rings summed [cycles per box], step of directions, disc of translations."""

    r_score: float
    r_sum: float
    step_deg: float
    shift_range_px: float
    shift_step_px: float


class Spectra(NamedTuple):
    """What the likelihood holds of a set beside its map: `noise` `(groups, n//2 + 1)`, `scale` `(m,)`, `sigma_px`."""

    noise: Array
    scale: Array
    sigma_px: float


@dataclass(frozen=True)
class Found:
    """Outcome of one expectation.

    Attributes
    ----------
    sums
        Of the next map, padded twofold, of the side asked for.
    candidates
        `(m, N_KEPT)` most probable orientations, each with its best translation; scores are log-probabilities.
    noise
        `(groups, n//2 + 1)` what the map leaves of the images' power, up to the last ring summed.
    sigma_px
        Deviation of the translations along one axis.
    lost
        `(m,)` share of each posterior that the sums leave out.
    beyond
        `(m,)` share of each posterior that lies beyond the candidates.
    evidence
        `(m,)` log-evidence against no particle.
    """

    sums: insertion.Accumulator
    candidates: Poses
    noise: Array
    sigma_px: float
    lost: Array
    beyond: Array
    evidence: Array


class _Layout(NamedTuple):
    """Grids and references of one search."""

    grid: polar.PolarGrid
    score_grid: polar.PolarGrid
    turns: Array
    references: Array
    shifts_px: Array
    side: int


def _layout(images: ImageSet, volume: Array, lattice: Lattice, symmetry: str) -> _Layout:
    support = images.radius_px + 0.5 * images.edge_px
    grid = polar.make_grid(images.box_px, r_max=lattice.r_sum, support_px=support)
    score_grid = replace(grid, r_max=min(int(lattice.r_score), grid.r_max))
    angles = directions_in_asymmetric_unit(lattice.step_deg, symmetry)
    turns = euler_to_matrix(angles[:, 0], angles[:, 1], np.zeros(len(angles)))
    slices = projection.project_points(projection.prepare_volume(volume), turns, grid.points.reshape(-1, 2))
    return _Layout(
        grid,
        score_grid,
        turns,
        slices.reshape(len(turns), len(grid.rings), grid.n_half),
        shift_grid(lattice.shift_range_px, lattice.shift_step_px),
        cropped_side(images.box_px, grid.r_max),
    )


def _stride(layout: _Layout, step_deg: float) -> int:
    """Every second in-plane angle where that is still finer than the directions."""
    spacing = 360.0 / layout.grid.n_theta
    return 2 if layout.grid.n_half % 2 == 0 and 2.0 * spacing <= 1.05 * step_deg else 1


def _block(
    images: ImageSet, part: slice, centres_px: Array, layout: _Layout, spectra: Spectra
) -> tuple[Array, Array, Array]:
    """Transforms on the grid, ``C X / sigma^2`` and ``C^2 / sigma^2`` of a block, each `(b, r, h)`."""
    cropped = images.cropped(part, layout.side)
    unit = np.float32((images.box_px / layout.side) ** 2)
    transforms = cropped.transforms(slice(None), centres_px, layout.grid) * unit
    over = cropped.ctfs(slice(None), layout.grid) * spectra.scale[part].astype(np.float32)[:, None, None]
    noise = spectra.noise[images.groups[part]][:, layout.grid.rings].astype(np.float32)[:, :, None]
    return transforms, transforms * (over / noise), over**2 / noise


def expect(
    images: ImageSet,
    volume: Array,
    spectra: Spectra,
    lattice: Lattice,
    *,
    symmetry: str,
    side: int,
    centres_px: Array,
    on_block: Callable[[int], None] = lambda done: None,
) -> Found:
    """Find the posterior of every image over all poses, and sum the images by it.

    Parameters
    ----------
    images
        Of one half-set.
    volume
        `(s, s, s)` float32: its map, whose transform is on the scale of the images' own.
    spectra
        Noise, scale of images, deviation of translations.
    lattice
        What is searched.
    symmetry
        Point group.
    side
        Of the map to be made [px].
    centres_px
        `(m, 2)` translations around which is searched.
    on_block
        Called with the number of images done; may raise to stop.

    References
    ----------
    Posterior and sums: Scheres, J. Mol. Biol. 415, 406 (2012), doi:10.1016/j.jmb.2011.11.010, eqs. 3 to 5.
    """
    layout = _layout(images, volume, lattice, symmetry)
    table = angular_search.make_table(
        layout.references[:, : len(layout.score_grid.rings)],
        layout.score_grid,
        layout.shifts_px,
        psi_stride=_stride(layout, lattice.step_deg),
    )
    prior = angular_search.Prior(np.zeros(len(layout.turns)), spectra.sigma_px)
    gathered = _Gathered(table, layout)
    n_scored = len(layout.score_grid.rings)
    power, parts = np.zeros((images.n_groups, len(layout.grid.rings))), []
    for block in images.blocks():
        transforms, values, weights = _block(images, block, centres_px[block], layout, spectra)
        np.add.at(power, images.groups[block], (np.abs(transforms) ** 2).mean(axis=2, dtype=np.float64))
        for piece in angular_search.batches(len(values), table):
            centres = centres_px[block][piece]
            targets = angular_search.Targets(2.0 * values[piece][:, :n_scored], weights[piece][:, :n_scored], centres)
            found, lost = gathered.take(targets, values[piece], weights[piece], prior, evidence_frac=images.mask_frac)
            moved = angular_search.image_shifts(found, table, centres)
            kept = _kept(found, moved, table, layout)
            beyond = 1.0 - (1.0 - found.lost) * np.exp(kept[2]).sum(axis=1)
            parts.append((kept, lost, beyond, found.log_evidence))
        on_block(block.stop)
    polar_sums, variance = gathered.finish()
    rotations, shifts, scores = (np.concatenate([part[0][k] for part in parts]) for k in range(3))
    return Found(
        sums=_spread(polar_sums, layout, side, symmetry),
        candidates=Poses(rotations, shifts, scores),
        noise=_noise(images, spectra, power, polar_sums, layout),
        sigma_px=max(0.5, float(np.sqrt(variance / len(images)))),
        lost=np.concatenate([part[1] for part in parts]),
        beyond=np.concatenate([part[2] for part in parts]),
        evidence=np.concatenate([part[3] for part in parts]),
    )


class _Gathered:
    """Sums of images by their posteriors: candidate by candidate where these are few, else over all poses at once."""

    def __init__(self, table: angular_search.Table, layout: _Layout) -> None:
        self._table, self._layout = table, layout
        self._sums = angular_sums.empty_sums(len(layout.turns), layout.grid)
        self._soft = angular_soft.SoftSums(table, layout.grid)
        self._variance = 0.0

    def take(
        self,
        targets: angular_search.Targets,
        values: Array,
        weights: Array,
        prior: angular_search.Prior,
        *,
        evidence_frac: float,
    ) -> tuple[angular_search.Survivors, Array]:
        """Search images and sum them; returns their best candidates, and the share `(m,)` that the sums leave out."""
        table, centres = self._table, targets.centres_px
        parts = angular_search.scores(targets, table)
        log_shift = angular_search.shift_prior(centres, table, prior.sigma_px)
        n_poses = 2 * parts[0].shape[0] * parts[0].shape[2]
        reach = float(np.log(n_poses / _BELOW_REACH))
        found = angular_search.chosen(
            parts,
            table,
            prior.log_reference,
            log_shift,
            evidence_frac=evidence_frac,
            n_most=_N_MOST,
            depths=(_DEEPEST, reach),
        )
        broad = np.flatnonzero(found.lost > LEFT_OUT)
        narrow = found.pick(~np.isin(found.image, broad))
        moved = angular_search.image_shifts(narrow, table, centres)
        self._variance += float((narrow.probability * (moved**2).sum(axis=1)).sum()) / 2.0
        half = np.zeros(len(centres), np.int64)
        shifts = self._layout.shifts_px
        angular_sums.add(self._sums, values, weights, narrow, grid=self._layout.grid, shifts_px=shifts, half=half)
        if len(broad):
            soft = angular_soft.weigh(
                parts, broad, found, log_reference=prior.log_reference, log_shift=log_shift, evidence_frac=evidence_frac
            )
            self._variance += float(angular_soft.variance(soft, table, centres[broad]).sum()) / 2.0
            self._soft.add(soft, values[broad], weights[broad])
        # Poses too improbable to be counted are all that sums over the whole lattice may lack.
        return found, np.where(found.lost > LEFT_OUT, 0.0, found.lost)

    def finish(self) -> tuple[angular_sums.PolarSums, float]:
        """Return the sums, and the sum of the variances of the translations."""
        self._soft.finish(self._sums)
        return self._sums, self._variance


def _kept(
    found: angular_search.Survivors, moved: Array, table: angular_search.Table, layout: _Layout
) -> tuple[Array, Array, Array]:
    """Most probable orientations `(b, N_KEPT, 3, 3)` of each image, translations and log-probabilities."""
    n_images = len(found.lost)
    psi_deg = table.grid.psi_deg
    place = (found.image * table.n_references + found.reference) * len(psi_deg) + found.psi
    best_first = np.lexsort((-found.probability, place))
    unique, first, inverse = np.unique(place[best_first], return_index=True, return_inverse=True)
    weight = np.bincount(inverse, weights=found.probability[best_first], minlength=len(unique))
    candidate = best_first[first]
    order = np.lexsort((-weight, found.image[candidate]))
    candidate, weight = candidate[order], weight[order]
    image = found.image[candidate]
    rank = np.arange(len(image)) - np.searchsorted(image, np.arange(n_images))[image]
    keep = rank < N_KEPT
    candidate, weight, image, rank = candidate[keep], weight[keep], image[keep], rank[keep]
    rotations = np.tile(np.eye(3), (n_images, N_KEPT, 1, 1))
    shifts, scores = np.zeros((n_images, N_KEPT, 2)), np.full((n_images, N_KEPT), -np.inf)
    angle = np.zeros(len(candidate))
    in_plane = euler_to_matrix(angle, angle, psi_deg[found.psi[candidate]])
    rotations[image, rank] = in_plane @ layout.turns[found.reference[candidate]]
    shifts[image, rank], scores[image, rank] = moved[candidate], np.log(np.maximum(weight, 1e-30))
    return rotations, shifts, scores


def _spread(sums: angular_sums.PolarSums, layout: _Layout, side: int, symmetry: str) -> insertion.Accumulator:
    """Spread the sums of directions, each sample by the area it stands for, at all symmetry-related places."""
    accumulator = insertion.empty_accumulator(side)
    area = layout.grid.areas[None, :, None]
    insertion.insert_points(
        accumulator,
        (sums.numerator[0] * area).reshape(len(layout.turns), -1).astype(np.complex64),
        (sums.weight[0] * area).reshape(len(layout.turns), -1).astype(np.float32),
        rotations=insertion.symmetric_rotations(layout.turns, rotation_matrices(symmetry)),
        points=layout.grid.points.reshape(-1, 2),
    )
    return accumulator


def _noise(images: ImageSet, spectra: Spectra, power: Array, sums: angular_sums.PolarSums, layout: _Layout) -> Array:
    """Power that the references leave, by group: what they explain is taken to be the same for all groups."""
    rings = layout.grid.rings
    count = np.maximum(np.bincount(images.groups, minlength=images.n_groups), 1)[:, None]
    mean = power / count
    old = spectra.noise[:, rings]
    explained = angular_sums.explained_power(sums, layout.references) / len(images)
    fresh = spectra.noise.copy()
    fresh[:, rings] = np.maximum(mean - old * explained, 0.3 * mean)
    fresh[:, 0] = fresh[:, rings[0]]
    return np.asarray(fresh)


def scale_of(
    images: ImageSet,
    volume: Array,
    spectra: Spectra,
    lattice: Lattice,
    *,
    symmetry: str,
) -> float:
    """Factor that brings a map from elsewhere to the scale of the images: the one of highest evidence.

    References
    ----------
    Evidence maximised over one parameter; definition.
    """
    layout = _layout(images, volume, lattice._replace(r_sum=lattice.r_score), symmetry)
    prior = angular_search.Prior(np.zeros(len(layout.turns)), spectra.sigma_px)
    blocks = [
        _block(images, block, np.zeros((block.stop - block.start, 2)), layout, spectra) for block in images.blocks()
    ]
    # No scale explains more power than there is.
    there = sum(float((weights * np.abs(layout.references).mean(axis=0) ** 2).sum()) for _, _, weights in blocks)
    power = sum(float((np.abs(v) ** 2 / np.maximum(w, 1e-30))[w > 1e-12].sum()) for _, v, w in blocks)
    most = np.sqrt(power / max(there, 1e-300))

    def evidence(scale: float) -> float:
        table = angular_search.make_table(
            (layout.references * scale).astype(np.complex64), layout.grid, layout.shifts_px, psi_stride=2
        )
        total = 0.0
        for _, values, weights in blocks:
            for piece in angular_search.batches(len(values), table):
                targets = angular_search.Targets(
                    2.0 * values[piece], weights[piece], np.zeros((piece.stop - piece.start, 2))
                )
                total += float(
                    angular_search.search(
                        targets, table, prior, evidence_frac=images.mask_frac, n_most=64
                    ).log_evidence.sum()
                )
        return total

    steps = np.arange(9)
    tried = np.array([evidence(most * 2.0 ** (-0.5 * step)) for step in steps])
    best = int(tried.argmax())
    if 0 < best < len(steps) - 1:
        left, top, right = tried[best - 1 : best + 2]
        return float(most * 2.0 ** (-0.5 * (best + 0.5 * (left - right) / (left - 2.0 * top + right))))
    return float(most * 2.0 ** (-0.5 * best))
