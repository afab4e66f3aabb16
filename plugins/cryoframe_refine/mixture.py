"""Expectation and maximisation of K maps over one set of images: classes, poses, noise. No products here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import fsc, insertion, pose_posterior, pose_search, projection, reconstruction, residuals
from cryoframe.numerics.interpolate import half_points
from cryoframe_refine.half import Geometry, Half, Seen, look, transforms
from cryoframe_refine.plan import Plan
from cryoframe_refine.regularisation import reliable

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Mixture:
    """All images with their poses and noise, and the maps they are a mixture of.

    Attributes
    ----------
    images
        Everything about the images; its reference is not used.
    references
        `(k, n, n, n)`, masked.
    share
        `(m, k)`: probability of each class for each image.
    evidence
        `(m,)`: log-evidence of each image against no particle.
    resolution_A
        `(k,)` by the FSC of the even and the odd images of a class.
    """

    images: Half
    references: Array
    share: Array
    evidence: Array
    resolution_A: Array


def random_start(n_images: int, n_classes: int, rng: np.random.Generator) -> Array:
    """Shares `(m, k)`: each image in one class, classes of equal size."""
    share = np.zeros((n_images, n_classes))
    share[rng.permutation(n_images), np.arange(n_images) % n_classes] = 1.0
    return share


def expect(state: Mixture, geometry: Geometry, plan: Plan, on_batch: Callable[[int], None]) -> Mixture:
    """Score each image against each map: new shares, and poses of the best class.

    References
    ----------
    Posterior over classes and poses: Scheres, J. Mol. Biol. 415, 406 (2012), doi:10.1016/j.jmb.2011.11.010, eq. 5.
    """
    m, k = state.share.shape
    prior = np.log(np.maximum(state.share.mean(axis=0), 1.0 / (10.0 * m)))
    evidence = np.empty((m, k))
    estimates = []
    for index, reference in enumerate(state.references):
        seen = look(replace(state.images, reference=reference), geometry, plan, partial(_onward, on_batch, index * m))
        gain = geometry.mask_frac * seen.candidates.scores
        best = gain.max(axis=1)
        evidence[:, index] = best + np.log(np.exp(gain - best[:, None]).sum(axis=1))
        estimates.append(pose_posterior.posterior_mean(seen.candidates, evidence_frac=geometry.mask_frac))
        on_batch((index + 1) * m)
    return _shared(state, evidence + prior, _of_best(estimates, (evidence + prior).argmax(axis=1)))


def _onward(on_batch: Callable[[int], None], base: int, n_done: int) -> None:
    on_batch(base + n_done)


def expect_at_poses(state: Mixture, geometry: Geometry, limit_A: float) -> Mixture:
    """Score each image against each map at the pose it has."""
    if state.images.poses is None or state.images.noise_power is None:
        return state
    images_ft = transforms(state.images, geometry)
    points = half_points(geometry.box_px, r_min=1.0, r_max=geometry.ring(limit_A))
    targets = pose_search.make_targets(images_ft, state.images.ctfs, state.images.noise_power, points)
    start, still = state.images.poses.candidates(), np.zeros((1, 2))
    scores = [
        pose_search.search_local(
            projection.prepare_volume(reference), targets, start, neighbours=np.eye(3)[None], shifts_px=still, n_keep=1
        ).scores[:, 0]
        for reference in state.references
    ]
    prior = np.log(np.maximum(state.share.mean(axis=0), 1.0 / (10.0 * len(images_ft))))
    return _shared(state, geometry.mask_frac * np.stack(scores, axis=1) + prior, state.images.poses)


def _shared(state: Mixture, log_posterior: Array, poses: pose_posterior.PoseEstimate) -> Mixture:
    best = log_posterior.max(axis=1, keepdims=True)
    weight = np.exp(log_posterior - best)
    total = weight.sum(axis=1, keepdims=True)
    evidence = (best + np.log(total))[:, 0]
    return replace(state, share=weight / total, evidence=evidence, images=replace(state.images, poses=poses))


def _of_best(estimates: list[pose_posterior.PoseEstimate], best: Array) -> pose_posterior.PoseEstimate:
    rows = np.arange(len(best))
    rotations, shifts, probability = (np.stack(parts)[best, rows] for parts in zip(*estimates, strict=True))
    return pose_posterior.PoseEstimate(rotations, shifts, probability)


def first_poses(images: Half, geometry: Geometry, plan: Plan, on_batch: Callable[[int], None]) -> Half:
    """Poses of all images against the one map that all classes start from."""
    seen: Seen = look(images, geometry, plan, on_batch)
    return replace(images, poses=pose_posterior.best_pose(seen.candidates), noise_power=seen.noise_power)


def maximise(state: Mixture, geometry: Geometry) -> Mixture:
    """Make the maps anew from the images by their shares, and the noise from what the maps leave.

    References
    ----------
    Scheres, J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006, eqs. 8 and 9.
    """
    images = state.images
    if images.poses is None:
        return state
    images_ft = transforms(images, geometry)
    noise = images.noise_power
    if noise is None:
        noise = residuals.group_spectra(residuals.power_by_ring(images_ft), images.groups)
    references, reached = [], []
    for index in range(state.share.shape[1]):
        sums = [insertion.empty_accumulator(geometry.box_px) for _ in range(2)]
        for parity, part in enumerate(sums):
            rows = np.arange(parity, len(images_ft), 2)
            reconstruction.accumulate(
                part,
                images_ft[rows],
                images.poses.rotations[rows],
                images.poses.shifts_px[rows],
                ctfs=images.ctfs[rows],
                operators=geometry.operators,
                noise_power=noise[rows],
                image_weights=state.share[rows, index] + 1e-6,
            )
        volume, resolution_A = _solved(sums, geometry)
        references.append(volume * geometry.volume_mask)
        reached.append(resolution_A)
    found = replace(
        state,
        references=np.stack(references).astype(np.float32),
        resolution_A=np.asarray(reached),
        images=replace(images, noise_power=noise),
    )
    return replace(found, images=replace(found.images, noise_power=_noise(found, images_ft)))


def _solved(sums: list[insertion.Accumulator], geometry: Geometry) -> tuple[Array, float]:
    """Map of a class, with the signal-to-noise ratio of its even and odd images, and its resolution [Å]."""
    first, second = (reconstruction.solve(part, wiener=0.1) for part in sums)
    curve = fsc.fsc_curve(first, second, pixel_size_A=geometry.pixel_size_A, mask=geometry.volume_mask)
    both = insertion.Accumulator(
        sums[0].numerator + sums[1].numerator, sums[0].weight + sums[1].weight, sums[0].padding
    )
    ssnr = fsc.ssnr_from_fsc(reliable(curve.fsc), of_full_map=True)
    reached = fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.143)
    return reconstruction.solve(both, ssnr=ssnr), reached.resolution_A


def _noise(state: Mixture, images_ft: Array) -> Array:
    """Noise spectra from what the best class leaves of each image."""
    images, best = state.images, state.share.argmax(axis=1)
    assert images.poses is not None
    power = np.zeros((len(images_ft), images_ft.shape[-1]))
    for index in np.unique(best):
        rows = np.flatnonzero(best == index)
        power[rows] = residuals.residual_power(
            projection.prepare_volume(state.references[index]),
            images_ft[rows],
            images.poses.rotations[rows],
            images.poses.shifts_px[rows],
            ctfs=images.ctfs[rows],
        )
    return residuals.group_spectra(power, images.groups)
