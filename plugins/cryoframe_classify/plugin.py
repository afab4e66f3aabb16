"""Two-dimensional classification by expectation-maximisation with rising resolution. No numerics of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ClassTable, ParticleStack, ParticleTable, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import class_average, ctf, masks, pose_posterior, residuals
from cryoframe.numerics.bounds import check_bounds, check_order
from cryoframe.numerics.fourier import fft2_centred
from cryoframe_classify.expectation import Assignment, Images, Sampling, assign, average, merge, noise_left, split

Array = npt.NDArray[Any]

DEVICES = ("cpu",)


@dataclass(frozen=True)
class Params:
    """How many classes, how long, how fine."""

    n_classes: int = 16  # classes to start with; some may end empty
    n_iterations: int = 20  # rounds of expectation and maximisation
    particle_diameter_A: float = 0.0  # of the soft mask around images and averages; 0 = 85 % of the box
    offset_range_A: float = 0.0  # how far from the box centre a particle may lie; 0 = 20 % of the box
    start_resolution_A: float = 35.0  # finest spacing used in the first round
    finest_resolution_A: float = 12.0  # finest spacing used in the last rounds
    psi_step_deg: float = 6.0  # step of the in-plane angle
    balance_frac: float = 0.5  # 1 = classes of equal size, 0 = as large as they grow

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            n_classes=(1, 1000),
            n_iterations=(1, 1000),
            particle_diameter_A=(0.0, 20000.0),
            offset_range_A=(0.0, 20000.0),
            start_resolution_A=(1.0, 1000.0),
            finest_resolution_A=(1.0, 1000.0),
            psi_step_deg=(0.5, 90.0),
            balance_frac=(0.0, 1.0),
        )
        check_order(self, "finest_resolution_A", "start_resolution_A")


@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    """Average like views without a reference.

    References
    ----------
    Scheres et al., J. Mol. Biol. 348, 139 (2005), doi:10.1016/j.jmb.2005.02.031; Scheres, J. Struct. Biol. 180, 519
    (2012), doi:10.1016/j.jsb.2012.09.006.
    """
    if not len(stack.particles):
        raise InvalidInput("no particles to classify", expected="a stack of at least one")
    given = stack.particles
    stack, not_finite = stack.finite_by_identity()
    if not_finite:
        ctx.drop(not_finite, "its image holds values that are not finite numbers")
    n, pixel = int(stack.images.shape[-1]), stack.pixel_size_A
    n_classes = min(params.n_classes, len(stack.particles))
    ctfs, mask = _ctfs(stack), _mask(n, pixel, params)
    images, found = _start(stack, ctfs, ctx)
    averages, ssnr = average(images, found, 1, r_max=n * pixel / params.start_resolution_A)
    total = params.n_iterations * len(ctfs)
    for iteration in range(params.n_iterations):
        sampling = _sampling(iteration, n, pixel, params)
        wanted = _classes_by(iteration, n_classes, n_images=len(ctfs), n_iterations=params.n_iterations)
        if wanted != len(averages):
            change = split if wanted > len(averages) else merge
            found = change(found, len(averages), wanted)
            averages, ssnr = average(images, found, wanted, r_max=1.3 * sampling.r_max)
        found = assign(
            images,
            class_average.centred(averages * mask) * mask,
            sampling,
            centres_px=found.shifts_px[:, 0],
            balance=params.balance_frac,
            on_batch=partial(_report, ctx, iteration * len(ctfs), total, f"round {iteration + 1}, {wanted} classes"),
        )
        found = _within(found, n, pixel, params)
        noise_power = noise_left(images, averages * mask, found) if iteration else images.noise_power
        # From the first poses on, each image is masked where its particle is.
        transforms = pose_posterior.masked_transforms(stack.images, found.shifts_px[:, 0], mask)
        images = Images(transforms, ctfs, noise_power, float((mask**2).mean()))
        averages, ssnr = average(images, found, wanted, r_max=1.3 * sampling.r_max)
    ctx.report(total, total, f"{len(averages)} classes")
    result = _products(stack, averages * mask, ssnr, found)
    return replace(result, particles=result.particles.ordered_like(given))


def _report(ctx: StageContext, base: int, total: int, message: str, n_done: int) -> None:
    ctx.report(base + n_done, total, message)


def _mask(n: int, pixel_size_A: float, params: Params) -> Array:
    edge_px = max(3.0, 0.06 * n)
    radius_px = min(0.5 * (params.particle_diameter_A / pixel_size_A or 0.85 * n), n / 2 - 1)
    return masks.circular_mask(n, radius_px - 0.5 * edge_px, edge_px=edge_px)


def _range_px(n: int, pixel_size_A: float, params: Params) -> float:
    return params.offset_range_A / pixel_size_A or 0.2 * n


def _sampling(iteration: int, n: int, pixel_size_A: float, params: Params) -> Sampling:
    """Resolution rises linearly in frequency over two thirds; all translations in the first three rounds only."""
    rise = min(1.0, iteration / max(1.0, 0.67 * params.n_iterations))
    low, high = (n * pixel_size_A / spacing for spacing in (params.start_resolution_A, params.finest_resolution_A))
    r_max = min(low + rise * (high - low), 0.48 * n)
    whole = _range_px(n, pixel_size_A, params)
    if iteration < 3:
        return Sampling(2.0 * params.psi_step_deg, whole, 2.0, r_max)
    return Sampling(params.psi_step_deg, 3.0, 1.0, r_max)


def _classes_by(iteration: int, n_classes: int, *, n_images: int, n_iterations: int) -> int:
    """Classes double from one over six tenths of the rounds; few classes are reached from above, by merging.

    Two classes alone often settle with the views mixed in both; eight hardly do.
    """
    n_peak = max(n_classes, min(8, n_images // 10, n_iterations // 3))
    n_doublings = int(np.ceil(np.log2(n_peak))) if n_peak > 1 else 0
    every = 0.6 * n_iterations / max(n_doublings, 1)
    grown = min(n_peak, 2 ** min(n_doublings, int((iteration + 1) / every)))
    merged = n_peak - max(0, iteration + 1 - int(0.65 * n_iterations))
    last = iteration >= n_iterations - 1
    return n_classes if last else min(grown, max(n_classes, merged))


def _start(stack: ParticleStack, ctfs: Array, ctx: StageContext) -> tuple[Images, Assignment]:
    """All images in one class, at random in-plane angles, with noise from the images themselves."""
    transforms = np.asarray(fft2_centred(np.asarray(stack.images, dtype=np.float32)), dtype=np.complex64)
    noise = residuals.group_spectra(residuals.power_by_ring(transforms), np.zeros(len(transforms), dtype=int))
    m = len(transforms)
    found = Assignment(
        np.zeros((m, 1), dtype=np.int64),
        ctx.rng.uniform(-180.0, 180.0, (m, 1)),
        np.zeros((m, 1, 2)),
        np.zeros((m, 1)),
        np.ones((m, 1)),
    )
    return Images(transforms, ctfs, noise, 1.0), found


def _within(found: Assignment, n: int, pixel_size_A: float, params: Params) -> Assignment:
    """Keep translations within the range allowed, so that no class drifts out of its box."""
    reach = _range_px(n, pixel_size_A, params)
    length = np.linalg.norm(found.shifts_px, axis=-1, keepdims=True)
    return found._replace(shifts_px=found.shifts_px * np.minimum(1.0, reach / np.maximum(length, 1e-9)))


def _ctfs(stack: ParticleStack) -> Array:
    n = int(stack.images.shape[-1])
    optics = {o.optics_group: (o.voltage_kV, o.cs_mm, o.amplitude_contrast_frac) for o in stack.optics}
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    if not stack.particles.has("ctf"):
        return np.ones((len(stack.particles), n, n // 2 + 1), dtype=np.float32)
    columns = {name: stack.particles.floats(name) for name in names}
    groups = stack.particles.column("optics_group")
    return ctf.ctf_of_groups(n, stack.pixel_size_A, groups=groups, optics=optics, columns=columns)


def _products(stack: ParticleStack, averages: Array, ssnr: Array, found: Assignment) -> Classes2D:
    """Averages from the most populated class on, their table, and the particles with class and in-plane pose."""
    n, pixel = int(stack.images.shape[-1]), stack.pixel_size_A
    best = found.class_ids[:, 0]
    count = np.bincount(best, minlength=len(averages))
    gain = np.bincount(best, weights=found.scores[:, 0].astype(np.float64), minlength=len(averages))
    order = np.argsort(-count, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    classes = ClassTable.from_columns(
        {
            "class_id": np.arange(len(order), dtype=np.int32),
            "n_particles": count[order].astype(np.int64),
            "resolution_A": np.array([_resolution_A(ssnr[k], n, pixel) for k in order], dtype=np.float32),
            "class_score": (gain / np.maximum(count, 1))[order].astype(np.float32),
        }
    )
    same = found.class_ids == best[:, None]
    particles = _with_classes(stack.particles, rank, found, same, pixel)
    return Classes2D(averages[order].astype(np.float32), classes, particles, pixel)


def _with_classes(
    particles: ParticleTable, rank: Array, found: Assignment, same: Array, pixel_size_A: float
) -> ParticleTable:
    zero = np.zeros(len(particles), dtype=np.float32)
    shift = (found.shifts_px[:, 0] * pixel_size_A).astype(np.float32)
    return particles.with_columns(
        {
            "class_id": rank[found.class_ids[:, 0]].astype(np.int32),
            "class_probability_frac": np.minimum((found.probability * same).sum(axis=1), 1.0).astype(np.float32),
            "rot_deg": zero,
            "tilt_deg": zero,
            "psi_deg": found.psi_deg[:, 0].astype(np.float32),
            "shift_x_A": shift[:, 0],
            "shift_y_A": shift[:, 1],
            "pose_score": found.probability[:, 0].astype(np.float32),
        }
    )


def _resolution_A(ssnr: Array, n: int, pixel_size_A: float) -> float:
    """Spacing at which the signal to noise ratio of an average first falls below one; the box where it never holds."""
    below = np.flatnonzero(ssnr[1:] < 1.0)
    ring = int(below[0]) if len(below) else n // 2
    return n * pixel_size_A / max(ring, 1)
