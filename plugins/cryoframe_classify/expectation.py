"""One round of two-dimensional EM on polar samples: posterior of all images, then new references. No products here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import angular_search, angular_sums, class_average, polar
from cryoframe.numerics.polar_images import PolarImages
from cryoframe.numerics.pose_search import shift_grid

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sampling:
    """What is looked at in one round: to which ring, and which translations around each image's centre."""

    r_max: float
    shift_range_px: float
    shift_step_px: float


@dataclass
class State:
    """What goes from round to round; pixels are those of the original images.

    Attributes
    ----------
    averages
        `(k, s, s)` float32, masked, on cropped pixels.
    ssnr
        `(k, rings)` from zero frequency on.
    noise_power
        `(rings,)`: expected power of noise in a transform's value.
    log_reference
        `(k,)` log-prior of the classes.
    sigma_px
        Deviation of the translations along one axis.
    class_id, psi_deg, centres_px, probability, pose_probability
        Best candidate of each image: `(m,)`, `(m,)`, `(m, 2)`, `(m,)`, `(m,)`; probabilities of its class, of its pose.
    lead
        `(m,)` log of the ratio of the probabilities of an image's best and second class.
    evidence, lost
        `(m,)` log-evidence of each image against no particle, and share of its posterior that was left out.
    mean_weight
        `(k, rings)`: mean squared CTF over the noise of the images of a class.
    """

    averages: Array
    ssnr: Array
    noise_power: Array
    log_reference: Array
    sigma_px: float
    class_id: Array
    psi_deg: Array
    centres_px: Array
    probability: Array
    pose_probability: Array
    lead: Array
    evidence: Array
    lost: Array
    mean_weight: Array = field(default_factory=lambda: np.zeros((0, 0)))


def evidence_frac(images: PolarImages) -> float:
    """Share of the image that its mask leaves: independent samples per transform value."""
    return float((images.mask**2).mean())


def grid_of(images: PolarImages, r_max: float) -> polar.PolarGrid:
    """Polar frequencies up to a ring."""
    return polar.make_grid(images.box_px, r_max=r_max, support_px=images.support_px)


def expect_and_maximise(
    images: PolarImages,
    state: State,
    sampling: Sampling,
    *,
    balance: float,
    largest_shift_px: float,
    on_batch: Callable[[int], None],
    rows: Array | None = None,
) -> State:
    """Run one round over all images, or over those of `rows` alone.

    Averages and priors are then made of these; the others keep their translation and have no class in this round.

    References
    ----------
    Scheres et al., J. Mol. Biol. 348, 139 (2005), doi:10.1016/j.jmb.2005.02.031; Scheres, J. Struct. Biol. 180, 519
    (2012), doi:10.1016/j.jsb.2012.09.006.
    """
    grid = grid_of(images, sampling.r_max)
    k, m = len(state.averages), len(images.images)
    chosen = np.arange(m) if rows is None else rows
    references = polar.sample(state.averages, grid)
    shifts = shift_grid(sampling.shift_range_px, sampling.shift_step_px)
    table = angular_search.make_table(references, grid, shifts)
    prior = angular_search.Prior(state.log_reference, state.sigma_px)
    sums = angular_sums.empty_sums(k, grid)
    noise = state.noise_power[grid.rings].astype(np.float32)[None, :, None]
    new = _blank(state, m)
    new.centres_px[:] = state.centres_px
    total = _Totals(np.zeros(k), np.zeros((k, len(grid.rings))), np.zeros(len(grid.rings)))
    for part in angular_search.batches(len(chosen), table):
        mine = chosen[part]
        centres = state.centres_px[mine]
        transforms = images.transforms(mine, centres, grid)
        ctfs = images.ctfs(mine, grid)
        values, weights = transforms * (ctfs / noise), ctfs**2 / noise
        targets = angular_search.Targets(2.0 * values, weights, centres)
        found = angular_search.search(targets, table, prior, evidence_frac=evidence_frac(images))
        angular_sums.add(sums, values, weights, found, grid=grid, shifts_px=shifts, half=mine % 2)
        _record(new, total, mine, found, table, centres)
        total.power += (np.abs(transforms) ** 2).mean(axis=2, dtype=np.float64).sum(axis=0)
        on_batch(part.stop)
    _limit(new.centres_px, largest_shift_px)
    return _maximise(images, state, new, sums, references, total, grid, balance, chosen)


@dataclass
class _Totals:
    """Sums over all images: probability of classes `(k,)`, CTF² over noise `(k, r)`, power of transforms `(r,)`."""

    mass: Array
    weight: Array
    power: Array


def _blank(state: State, m: int) -> State:
    return State(
        state.averages,
        state.ssnr,
        state.noise_power,
        state.log_reference,
        state.sigma_px,
        np.zeros(m, np.int64),
        np.zeros(m),
        np.zeros((m, 2)),
        *(np.zeros(m) for _ in range(5)),
    )


def _record(
    new: State,
    total: _Totals,
    rows: Array,
    found: angular_search.Survivors,
    table: angular_search.Table,
    centres: Array,
) -> None:
    """Keep the best candidate of each image, and the mass of the classes."""
    k = table.n_references
    share = np.bincount(found.image * k + found.reference, weights=found.probability, minlength=len(rows) * k)
    by_class = share.reshape(len(rows), k)
    total.mass += by_class.sum(axis=0)
    chosen = by_class.argmax(axis=1)
    # Candidates of the best class only, the most probable one of each image last.
    mine = np.flatnonzero(found.reference == chosen[found.image])
    mine = mine[np.lexsort((found.probability[mine], found.image[mine]))]
    last = mine[np.searchsorted(found.image[mine], np.arange(len(rows)), side="right") - 1]
    best = found.pick(last)
    new.class_id[rows], new.psi_deg[rows] = chosen, table.grid.psi_deg[best.psi]
    new.centres_px[rows] = angular_search.image_shifts(best, table, centres)
    new.probability[rows] = np.minimum(by_class[np.arange(len(rows)), chosen], 1.0)
    new.pose_probability[rows] = best.probability
    others = by_class.copy()
    others[np.arange(len(rows)), chosen] = 0.0
    new.lead[rows] = np.log(new.probability[rows] / np.maximum(others.max(axis=1), np.exp(-angular_search.CUTOFF)))
    new.evidence[rows], new.lost[rows] = found.log_evidence, found.lost


def _limit(centres_px: Array, largest_px: float) -> None:
    length = np.linalg.norm(centres_px, axis=1, keepdims=True)
    centres_px *= np.minimum(1.0, largest_px / np.maximum(length, 1e-9))


def _maximise(
    images: PolarImages,
    old: State,
    new: State,
    sums: angular_sums.PolarSums,
    references: Array,
    total: _Totals,
    grid: polar.PolarGrid,
    balance: float,
    chosen: Array,
) -> State:
    m, side = len(chosen), images.images.shape[-1]
    ssnr = angular_sums.ring_ssnr(sums)
    solved = angular_sums.solve(sums, ssnr)
    mask = images.mask
    averages = polar.to_images(solved, grid, side) * mask
    new.averages = (class_average.centred(averages, largest_px=1.0) * mask).astype(np.float32)
    new.ssnr = _on_all_rings(ssnr, grid, images.box_px)
    left = (total.power - old.noise_power[grid.rings] * angular_sums.explained_power(sums, references)) / m
    noise = old.noise_power.copy()
    noise[grid.rings] = np.maximum(left, 0.2 * total.power / m)
    new.noise_power = noise
    new.log_reference = _log_prior(old.log_reference, total.mass, balance)
    moved = (new.centres_px[chosen] ** 2).mean() if m else 0.0
    new.sigma_px = max(1.0, float(np.sqrt(moved)))
    weight = sums.weight.sum(axis=0).mean(axis=2) / np.maximum(total.mass, 1e-9)[:, None]
    new.mean_weight = _on_all_rings(weight, grid, images.box_px)
    return new


def _on_all_rings(values: Array, grid: polar.PolarGrid, box_px: int) -> Array:
    whole = np.zeros((len(values), box_px // 2 + 1))
    whole[:, grid.rings] = values
    return whole


def _log_prior(before: Array, mass: Array, balance: float) -> Array:
    """Log-prior of the classes: their size, or what drives them to equal size, or between.

    A class with many images has an average of larger amplitude, and so draws ever more images; this takes the
    advantage away. Equal-size classes: Yang, Fang, Chittuluru, Asturias & Penczek, Structure 20, 237 (2012),
    doi:10.1016/j.str.2011.12.007.
    """
    size = np.log(np.maximum(mass, 0.1) / mass.sum())
    even = before - size
    mixed = (1.0 - balance) * size + balance * np.clip(even - even.mean(), -8.0, 8.0)
    return np.asarray(mixed - mixed.max())


def noise_spectrum(images: PolarImages, rows: Array) -> Array:
    """Power `(n//2 + 1,)` of masked images by ring, of a sample of them: an upper bound of that of their noise."""
    grid = grid_of(images, images.images.shape[-1] / 2 - 1)
    power = np.zeros(len(grid.rings))
    for row in rows:
        power += (np.abs(images.transforms(slice(row, row + 1), np.zeros((1, 2)), grid)) ** 2).mean(axis=(0, 2))
    whole = np.full(images.box_px // 2 + 1, power[-1] / len(rows))
    whole[grid.rings], whole[0] = power / len(rows), power[0] / len(rows)
    return whole


def random_start(images: PolarImages, n_classes: int, r_max: float, rng: np.random.Generator, *, each: int) -> State:
    """Start from averages of a few images each, drawn at random and not aligned: no reference enters."""
    m, side = len(images.images), images.images.shape[-1]
    noise = noise_spectrum(images, rng.choice(m, min(m, 400), replace=False))
    grid = grid_of(images, r_max)
    order = rng.permutation(m)
    over = noise[grid.rings][None, :, None]
    averages = np.zeros((n_classes, side, side), dtype=np.float32)
    for k in range(n_classes):
        rows = np.sort(order[np.arange(k * each, (k + 1) * each) % m])
        transforms = images.transforms(rows, np.zeros((len(rows), 2)), grid)
        ctfs = images.ctfs(rows, grid)
        solved = (transforms * ctfs / over).sum(axis=0) / ((ctfs**2 / over).sum(axis=0) + 1.0 / over[0])
        averages[k] = polar.to_images(solved[None].astype(np.complex64), grid, side)[0] * images.mask
    return State(
        averages,
        np.zeros((n_classes, images.box_px // 2 + 1)),
        noise,
        np.zeros(n_classes),
        float("inf"),
        np.zeros(m, np.int64),
        np.zeros(m),
        np.zeros((m, 2)),
        *(np.zeros(m) for _ in range(5)),
    )


def without_redundant(state: State, n_wanted: int) -> State:
    """Leave out the classes that are missed least, until `n_wanted` are left: their images have another as good.

    References
    ----------
    Definition: the loss of a class is what the log-posteriors of its images drop by where they go to their second
    choice.
    """
    n_classes = len(state.averages)
    if n_wanted >= n_classes:
        return state
    loss = np.bincount(state.class_id, weights=state.lead, minlength=n_classes)
    keep = np.sort(np.argsort(-loss, kind="stable")[:n_wanted])
    return replace(state, averages=state.averages[keep], ssnr=state.ssnr[keep], log_reference=state.log_reference[keep])
