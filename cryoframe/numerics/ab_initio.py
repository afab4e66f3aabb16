"""A first map from images alone, by stochastic expectation-maximisation; what is done with it is not here.

References of a step are the projections of the present map in directions that cover the asymmetric unit. A step scores
a random part of the images against them, sums the images by direction, spreads the sums into two half accumulators,
and mixes those into the running ones (online EM), from which the next map is solved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import (
    angular_search,
    angular_sums,
    fsc,
    insertion,
    polar,
    projection,
    reconstruction,
    symmetry_axes,
)
from cryoframe.numerics.masks import spherical_mask
from cryoframe.numerics.polar_images import PolarImages
from cryoframe.numerics.pose_search import shift_grid
from cryoframe.numerics.rotations import euler_to_matrix
from cryoframe.numerics.symmetry import directions_in_asymmetric_unit, rotation_matrices
from cryoframe.numerics.symmetry_axes import Axes

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One step: how fine, how many images, and how much the running sums take of it."""

    r_max: float
    step_deg: float
    shift_range_px: float
    shift_step_px: float
    n_images: int
    rate: float
    temper: float = 1.0


class Candidate(NamedTuple):
    """One of the maps that are searched for side by side.

    `volume` `(s, s, s)` float32 within its mask, on the images' cropped pixels; `halves`: running sums of the even and
    the odd images; `ssnr` `(shells,)`: signal to noise ratio of their sum.
    """

    volume: Array
    halves: tuple[insertion.Accumulator, insertion.Accumulator]
    ssnr: Array


@dataclass(frozen=True)
class Model:
    """What goes from step to step.

    Attributes
    ----------
    maps
        As many as there are classes.
    share_frac
        `(k,)` of the images, of each map.
    noise_power
        `(rings,)` expected power of noise in a transform's value.
    centres_px
        `(m, 2)` translation found for each image last.
    sigma_px
        Deviation of the translations along one axis.
    evidence
        Mean log-evidence of the last step's images against no particle.
    """

    maps: tuple[Candidate, ...]
    share_frac: Array
    noise_power: Array
    centres_px: Array
    sigma_px: float
    evidence: float = 0.0


def start(
    images: PolarImages, *, r_max: float, symmetry: str, n_images: int, n_maps: int, rng: np.random.Generator
) -> Model:
    """Back-project a few images at random orientations, for each map others: blobs of the particles' size.

    References
    ----------
    Punjani, Rubinstein, Fleet & Brubaker, Nat. Methods 14, 290 (2017), doi:10.1038/nmeth.4169.
    """
    m, side = len(images.images), images.images.shape[-1]
    grid = polar.make_grid(images.box_px, r_max=r_max, support_px=images.support_px)
    whole = polar.make_grid(images.box_px, r_max=side / 2 - 2, support_px=images.support_px)
    maps, noise = [], np.zeros(images.box_px // 2 + 1)
    for _ in range(n_maps):
        rows = np.sort(rng.choice(m, min(m, n_images), replace=False))
        transforms = images.transforms(rows, np.zeros((len(rows), 2)), whole)
        power = _on_rings((np.abs(transforms) ** 2).mean(axis=(0, 2)), whole, images.box_px)
        noise += power / n_maps
        maps.append(_blob(images, rows, power, grid, symmetry=symmetry, rng=rng))
    return Model(tuple(maps), np.full(n_maps, 1.0 / n_maps), noise, np.zeros((m, 2)), 0.05 * images.box_px)


def _blob(
    images: PolarImages, rows: Array, noise: Array, grid: polar.PolarGrid, *, symmetry: str, rng: np.random.Generator
) -> Candidate:
    ctfs = images.ctfs(rows, grid)
    over = noise[grid.rings][None, :, None]
    turns = euler_to_matrix(
        rng.uniform(-180, 180, len(rows)),
        np.degrees(np.arccos(rng.uniform(-1, 1, len(rows)))),
        rng.uniform(-180, 180, len(rows)),
    )
    halves = _empty(images.images.shape[-1])
    values = images.transforms(rows, np.zeros((len(rows), 2)), grid) * ctfs / over
    for half, accumulator in enumerate(halves):
        mine = np.arange(len(rows)) % 2 == half
        _spread(accumulator, values[mine], (ctfs**2 / over)[mine], turns[mine], grid, symmetry)
    return _solved(images, halves, grid.r_max)


def _empty(side: int) -> tuple[insertion.Accumulator, insertion.Accumulator]:
    return insertion.empty_accumulator(side), insertion.empty_accumulator(side)


def _on_rings(values: Array, grid: polar.PolarGrid, box_px: int) -> Array:
    whole = np.full(box_px // 2 + 1, float(values[-1]))
    whole[grid.rings], whole[0] = values, values[0]
    return whole


def _spread(
    accumulator: insertion.Accumulator,
    values: Array,
    weights: Array,
    rotations: Array,
    grid: polar.PolarGrid,
    symmetry: str,
) -> None:
    """Add polar slices, each sample by the area it stands for, at all symmetry-related places."""
    area = grid.areas[None, :, None]
    insertion.insert_points(
        accumulator,
        (values * area).reshape(len(values), -1).astype(np.complex64),
        (weights * area).reshape(len(values), -1).astype(np.float32),
        rotations=insertion.symmetric_rotations(rotations, rotation_matrices(symmetry)),
        points=grid.points.reshape(-1, 2),
    )


def advance(
    images: PolarImages, model: Model, step: Step, rows: Array, *, symmetry: str, evidence_frac: float
) -> Model:
    """Take one step with some of the images.

    Parameters
    ----------
    images
        All of them.
    model
        From :func:`start` or the step before.
    step
        What to do.
    rows
        `(b,)` images of this step.
    symmetry
        Point group.
    evidence_frac
        Independent samples per transform value.

    References
    ----------
    Online EM: Cappé & Moulines, J. R. Stat. Soc. B 71, 593 (2009), doi:10.1111/j.1467-9868.2009.00698.x; stochastic
    search of a first map: Punjani et al., Nat. Methods 14, 290 (2017), doi:10.1038/nmeth.4169; Kimanius et al.,
    Biochem. J. 478, 4169 (2021), doi:10.1042/BCJ20210708.
    """
    grid = polar.make_grid(images.box_px, r_max=step.r_max, support_px=images.support_px)
    angles = directions_in_asymmetric_unit(step.step_deg, symmetry)
    turns = euler_to_matrix(angles[:, 0], angles[:, 1], np.zeros(len(angles)))
    references = np.concatenate([_views(one.volume, turns, grid) for one in model.maps])
    shifts = shift_grid(step.shift_range_px, step.shift_step_px)
    table = angular_search.make_table(references, grid, shifts, psi_stride=2)
    prior = angular_search.Prior(np.repeat(np.log(model.share_frac), len(turns)), model.sigma_px)
    sums = angular_sums.empty_sums(len(references), grid)
    noise = model.noise_power[grid.rings].astype(np.float32)[None, :, None]
    centres, power, evidence = model.centres_px.copy(), np.zeros(len(grid.rings)), 0.0
    taken = np.zeros(len(references))
    for part in angular_search.batches(len(rows), table):
        mine = rows[part]
        transforms, ctfs = images.transforms(mine, model.centres_px[mine], grid), images.ctfs(mine, grid)
        values, weights = transforms * (ctfs / noise), ctfs**2 / noise
        targets = angular_search.Targets(2.0 * values, weights, model.centres_px[mine])
        found = angular_search.search(targets, table, prior, evidence_frac=evidence_frac * step.temper, n_most=128)
        angular_sums.add(sums, values, weights, found, grid=grid, shifts_px=shifts, half=mine % 2)
        evidence += float(found.log_evidence.sum())
        taken += np.bincount(found.reference, weights=found.probability, minlength=len(references))
        centres[mine] = _best_shifts(found, table, model.centres_px[mine])
        power += (np.abs(transforms) ** 2).mean(axis=2, dtype=np.float64).sum(axis=0)
    left = (power - model.noise_power[grid.rings] * angular_sums.explained_power(sums, references)) / len(rows)
    new_noise = model.noise_power.copy()
    new_noise[grid.rings] += step.rate * (np.maximum(left, 0.3 * power / len(rows)) - new_noise[grid.rings])
    spread_px = max(1.0, float(np.sqrt((centres[rows] ** 2).mean())))
    return Model(
        _next_maps(images, model, step, sums, turns=turns, grid=grid, symmetry=symmetry),
        _next_shares(model, taken.reshape(len(model.maps), -1).sum(axis=1), step.rate),
        new_noise,
        centres,
        spread_px,
        evidence / len(rows),
    )


def _views(volume: Array, turns: Array, grid: polar.PolarGrid) -> Array:
    """Projections `(d, r, h)` of a map in all directions."""
    seen = projection.project_points(projection.prepare_volume(volume), turns, grid.points.reshape(-1, 2))
    return seen.reshape(len(turns), len(grid.rings), grid.n_half)


def _next_maps(
    images: PolarImages,
    model: Model,
    step: Step,
    sums: angular_sums.PolarSums,
    *,
    turns: Array,
    grid: polar.PolarGrid,
    symmetry: str,
) -> tuple[Candidate, ...]:
    """Each map with what the step's images add to its running sums."""
    maps = []
    for number, one in enumerate(model.maps):
        mine = slice(number * len(turns), (number + 1) * len(turns))
        fresh = _empty(one.volume.shape[0])
        for half, accumulator in enumerate(fresh):
            _spread(accumulator, sums.numerator[half, mine], sums.weight[half, mine], turns, grid, symmetry)
        first, second = (_mixed(old, new, step.rate) for old, new in zip(one.halves, fresh, strict=True))
        maps.append(_solved(images, (first, second), step.r_max))
    return tuple(maps)


def _next_shares(model: Model, taken: Array, rate: float) -> Array:
    """Shares of the maps; none dies out, so that it may yet find its particles."""
    share = (1.0 - rate) * model.share_frac + rate * taken / taken.sum()
    floored = np.maximum(share, 0.1 / len(share))
    return np.asarray(floored / floored.sum())


def laid_on_axes(images: PolarImages, model: Model, group: str, *, r_max: float) -> tuple[Model, tuple[Axes, ...]]:
    """Lay each map, searched for without symmetry, on the axes of a point group and average it over the group.

    The running sums are in the old frame: the next step has to be taken at rate 1. Translations are kept, though the
    centre moves by a little: the next step has to look for them in their whole range.
    """
    found = tuple(symmetry_axes.find_axes(one.volume, group, r_max=r_max) for one in model.maps)
    laid = [
        symmetry_axes.lay_on_axes(one.volume, axes, group) * _mask(images)
        for one, axes in zip(model.maps, found, strict=True)
    ]
    maps = tuple(one._replace(volume=volume.astype(np.float32)) for one, volume in zip(model.maps, laid, strict=True))
    return replace(model, maps=maps), found


def _mixed(old: insertion.Accumulator, new: insertion.Accumulator, rate: float) -> insertion.Accumulator:
    """Running sums that forget the past at a rate."""
    numerator = (1.0 - rate) * old.numerator + rate * new.numerator
    weight = (1.0 - rate) * old.weight + rate * new.weight
    return replace(old, numerator=numerator.astype(old.numerator.dtype), weight=weight.astype(old.weight.dtype))


def _best_shifts(found: angular_search.Survivors, table: angular_search.Table, centres_px: Array) -> Array:
    """Translation of the most probable candidate of each image."""
    order = np.lexsort((found.probability, found.image))
    last = order[np.searchsorted(found.image[order], np.arange(len(centres_px)), side="right") - 1]
    return angular_search.image_shifts(found.pick(last), table, centres_px)


def _solved(
    images: PolarImages, halves: tuple[insertion.Accumulator, insertion.Accumulator], r_max: float
) -> Candidate:
    """Solve the running sums: Wiener filter from the agreement of the halves, mask, centre."""
    ssnr = half_ssnr(*halves)
    ssnr[int(r_max) + 1 :] = 0.0
    first, second = halves
    both = replace(first, numerator=first.numerator + second.numerator, weight=first.weight + second.weight)
    if not float(both.weight.max()) > 0.0:
        return Candidate(np.zeros((images.images.shape[-1],) * 3, np.float32), halves, ssnr)
    volume = reconstruction.solve(both, ssnr=ssnr) * _mask(images)
    return Candidate(volume.astype(np.float32), halves, ssnr)


def _mask(images: PolarImages) -> Array:
    side = images.images.shape[-1]
    scale = side / images.box_px
    return spherical_mask(side, scale * (images.radius_px - 0.5 * images.edge_px), edge_px=scale * images.edge_px)


def half_ssnr(first: insertion.Accumulator, second: insertion.Accumulator) -> Reals:
    """Signal to noise ratio `(shells,)` of the sum of two halves, from their correlation."""
    n, padding = first.box_px, first.padding
    index = reconstruction.radial_index(n, padding)
    n_shells = n // 2 + 1
    estimates = []
    for part in (first, second):
        numerator, weight = reconstruction.complete_symmetric_plane(part)
        floor = 0.1 * reconstruction.shell_means(weight, index, n_shells)
        estimates.append(numerator / (weight + floor[np.minimum(index, n_shells - 1)] + 1e-30))
    one, two = estimates
    terms = ((one * two.conj()).real, np.abs(one) ** 2, np.abs(two) ** 2)
    cross, power, other = (reconstruction.shell_means(term, index, n_shells) for term in terms)
    wide = [np.convolve(term, np.ones(3), mode="same") for term in (cross, power, other)]
    curve = np.clip(wide[0] / np.sqrt(np.maximum(wide[1] * wide[2], 1e-30)), 0.0, 0.999)
    return fsc.ssnr_from_fsc(curve, of_full_map=True)
