"""One round of two-dimensional EM: scores of all images against all classes, then new averages. No products here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import class_average, interpolate, pose_search, residuals
from cryoframe.numerics.reconstruction import shift_at_points
from cryoframe.numerics.rotations import psi_grid

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sampling:
    """What is looked at in one round."""

    psi_step_deg: float
    shift_range_px: float
    shift_step_px: float
    r_max: float
    n_keep: int = 8


class Assignment(NamedTuple):
    """Best candidates of each image, `(m, k)` each: class, in-plane angle, `(m, k, 2)` shift, score, probability."""

    class_ids: Array
    psi_deg: Array
    shifts_px: Array
    scores: Array
    probability: Array


@dataclass(frozen=True)
class Images:
    """Transforms, CTFs and noise of the images; `evidence_frac` is the share of the image that its mask leaves."""

    transforms: Array
    ctfs: Array
    noise_power: Array
    evidence_frac: float


def assign(
    images: Images,
    averages: Array,
    sampling: Sampling,
    *,
    centres_px: Array | None,
    balance: float,
    on_batch: Callable[[int], None],
) -> Assignment:
    """Posterior of class, in-plane angle and translation of each image, over its best candidates.

    References
    ----------
    Scheres et al., J. Mol. Biol. 348, 139 (2005), doi:10.1016/j.jmb.2005.02.031.
    """
    n = images.transforms.shape[-2]
    points = interpolate.half_points(n, r_min=2.0, r_max=sampling.r_max)
    targets = pose_search.make_targets(images.transforms, images.ctfs, images.noise_power, points)
    psi = psi_grid(sampling.psi_step_deg)
    table = class_average.rotate_references(class_average.prepare_references(averages), psi, points)
    rows, shifts, scores = pose_search.search_table(
        targets,
        table,
        pose_search.shift_grid(sampling.shift_range_px, sampling.shift_step_px),
        centres_px=centres_px,
        group_size=len(psi),
        on_batch=on_batch,
    )
    log_likelihood = images.evidence_frac * scores.astype(np.float64)
    probability = _posterior(log_likelihood + balance * _balancing_prior(log_likelihood))
    order = np.argsort(-probability, axis=1, kind="stable")[:, : sampling.n_keep]
    line = np.arange(len(rows))[:, None]
    rows, probability = rows[line, order], probability[line, order]
    return Assignment(
        rows // len(psi),
        psi[rows % len(psi)],
        shifts[line, order],
        scores[line, order],
        probability / probability.sum(axis=1, keepdims=True),
    )


def _posterior(log_joint: Array) -> Array:
    gain = np.exp(np.maximum(log_joint - log_joint.max(axis=1, keepdims=True), -700.0))
    return np.asarray(gain / gain.sum(axis=1, keepdims=True))


def _balancing_prior(log_likelihood: Array, n_rounds: int = 30) -> Array:
    """Log-prior `(k,)` under which all classes would be equally populated.

    A class with many images has an average of larger amplitude, and so draws ever more images; this takes the
    advantage away. Equal-size classes: Yang, Fang, Chittuluru, Asturias & Penczek, Structure 20, 237 (2012),
    doi:10.1016/j.str.2011.12.007.
    """
    n_images, n_classes = log_likelihood.shape
    log_prior = np.zeros(n_classes)
    for _ in range(n_rounds):
        share = _posterior(log_likelihood + log_prior).sum(axis=0) * n_classes / n_images
        log_prior -= np.log(np.maximum(share, 1e-3))
    return log_prior


def split(found: Assignment, n_classes: int, n_wanted: int) -> Assignment:
    """Split the most populated classes: the half of the images that a class explains worst makes a new class.

    References
    ----------
    Divisive clustering: Sorzano et al., J. Struct. Biol. 171, 197 (2010), doi:10.1016/j.jsb.2010.03.011.
    """
    labels, scores = found.class_ids[:, 0].copy(), found.scores[:, 0]
    for new in range(n_classes, n_wanted):
        count = np.bincount(labels, minlength=n_wanted)
        members = np.flatnonzero(labels == int(count.argmax()))
        worst = members[np.argsort(scores[members], kind="stable")[: len(members) // 2]]
        labels[worst] = new
    return Assignment(
        labels[:, None], found.psi_deg[:, :1], found.shifts_px[:, :1], found.scores[:, :1], np.ones((len(labels), 1))
    )


def merge(found: Assignment, n_classes: int, n_wanted: int) -> Assignment:
    """Dissolve the classes that are missed least: their images go to the class that explains them next best.

    References
    ----------
    Definition: the loss of a class is what the scores of its images drop by without it.
    """
    for last in range(n_classes - 1, n_wanted - 1, -1):
        best = found.class_ids[:, 0]
        runner_up = np.where(found.class_ids[:, 1:] != best[:, None], found.scores[:, 1:], -np.inf).max(
            axis=1, initial=0.0
        )
        loss = np.bincount(best, weights=found.scores[:, 0] - runner_up, minlength=last + 1)
        gone = int(loss.argmin())
        found = _without(found, gone, renamed=last)
    return found


def _without(found: Assignment, gone: int, *, renamed: int) -> Assignment:
    """Candidates with class `gone` moved behind the others, and the class `renamed` given its number."""
    is_gone = found.class_ids == gone
    order = np.argsort(is_gone, axis=1, kind="stable")
    line = np.arange(len(order))[:, None]
    class_ids, share = found.class_ids[line, order], np.where(is_gone, 0.0, found.probability)[line, order]
    # An image that had no other candidate goes wherever the renamed class goes, at no weight of its own.
    class_ids = np.where(class_ids == renamed, gone, class_ids)
    total = share.sum(axis=1, keepdims=True)
    return Assignment(
        class_ids,
        found.psi_deg[line, order],
        found.shifts_px[line, order],
        found.scores[line, order],
        np.where(total > 0, share / np.where(total > 0, total, 1.0), 1.0 / share.shape[1]),
    )


def average(images: Images, found: Assignment, n_classes: int, *, r_max: float) -> tuple[Array, Array]:
    """CTF-corrected averages of the classes, and their signal to noise ratio by ring.

    References
    ----------
    Unser, Trus & Steven, Ultramicroscopy 23, 39 (1987), for the filter.
    """
    n = images.transforms.shape[-2]
    points = interpolate.half_points(n)
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    ctfs = interpolate.at_points(images.ctfs, points)
    over_noise = 1.0 / images.noise_power[:, rings]
    values = (interpolate.at_points(images.transforms, points) * ctfs * over_noise).astype(np.complex64)
    weights = (ctfs**2 * over_noise).astype(np.float32)
    halves = [class_average.empty_sums(n_classes, n) for _ in range(2)]
    for candidate in range(found.scores.shape[1]):
        share = found.probability[:, candidate]
        for parity, sums in enumerate(halves):
            rows = np.flatnonzero((share > 0.02) & (np.arange(len(share)) % 2 == parity))
            moved = shift_at_points(values[rows], points, found.shifts_px[rows, candidate], n=n)
            part = share[rows, None].astype(np.float32)
            class_average.add_images(
                sums,
                moved * part,
                weights[rows] * part,
                class_ids=found.class_ids[rows, candidate],
                psi_deg=found.psi_deg[rows, candidate],
                points=points,
            )
    return class_average.solve_classes(*halves, r_max=r_max)


def noise_left(images: Images, averages: Array, found: Assignment) -> Array:
    """Noise spectra `(m, rings)` after each image's best class is taken off, averaged over all images."""
    n = images.transforms.shape[-2]
    points = interpolate.half_points(n)
    references = class_average.prepare_references(averages)
    moved = shift_at_points(interpolate.at_points(images.transforms, points), points, found.shifts_px[:, 0], n=n)
    ctfs = interpolate.at_points(images.ctfs, points)
    rest = np.empty_like(moved)
    for k in range(len(averages)):
        rows = np.flatnonzero(found.class_ids[:, 0] == k)
        if len(rows):
            turned = class_average.rotate_references(references[k : k + 1], found.psi_deg[rows, 0], points)
            rest[rows] = moved[rows] - ctfs[rows] * turned
    power = residuals.ring_means(np.abs(rest) ** 2, points, n // 2 + 1)
    return residuals.group_spectra(power, np.zeros(len(power), dtype=int))
