"""What a classification hands on: averages in the full box, the table of classes, the particles' class and pose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ClassTable, Column, ParticleStack
from cryoframe.numerics import angular_sums, class_average, interpolate, polar, pose_posterior
from cryoframe.numerics.mapped import give_back
from cryoframe.numerics.masks import circular_mask
from cryoframe.numerics.polar_images import Optics, PolarImages, chunk_of, make_optics
from cryoframe.numerics.reconstruction import shift_at_points
from cryoframe_classify.expectation import State

Array = npt.NDArray[Any]

EXTRA = (
    Column("distribution_frac", "float32", "Share of the particles whose best class this is."),
    Column("accuracy_rotation_deg", "float32", "In-plane turn that makes a pose a hundred times less probable."),
    Column("accuracy_translation_A", "float32", "Translation that makes a pose a hundred times less probable."),
)


def optics_of(stack: ParticleStack, rows: Array, *, ignore_ctf: bool) -> Optics:
    """CTF parameters of some particles of a stack."""
    table = stack.particles
    if ignore_ctf:
        return Optics(np.zeros((len(rows), 4)), np.zeros(len(rows), np.int64), ())
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    settings = {o.optics_group: (o.voltage_kV, o.cs_mm, o.amplitude_contrast_frac) for o in stack.optics}
    groups = np.asarray(table.column("optics_group"))[rows].astype(str)
    for name in np.unique(groups):
        stack.optics_of(str(name))
    return make_optics(groups, settings, {name: table.floats(name)[rows] for name in names})


def assemble(stack: ParticleStack, rows: Array, images: PolarImages, state: State, r_max: float) -> Classes2D:
    """Averages from the most populated class on, their table, and the particles in the order they came in."""
    count = np.bincount(state.class_id, minlength=len(state.averages))
    order = np.argsort(-count, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    averages, ssnr = _averages(stack, rows, images, replace(state, class_id=rank[state.class_id]))
    classes = _table(images, state, count, order, ssnr, r_max)
    particles = stack.particles.select(rows).with_columns(_columns(state, rank, images.pixel_size_A))
    return Classes2D(averages, classes, particles.ordered_like(stack.particles), images.pixel_size_A)


def _averages(stack: ParticleStack, rows: Array, images: PolarImages, state: State) -> tuple[Array, Array]:
    """CTF-corrected averages of the full box at the best poses, a chunk of images at a time; and their SSNR by ring."""
    n, n_classes = images.box_px - images.box_px % 2, len(state.averages)
    points = interpolate.half_points(n)
    halves = [class_average.empty_sums(n_classes, n) for _ in range(2)]
    mask = circular_mask(n, images.radius_px - 0.5 * images.edge_px, edge_px=images.edge_px)
    whole = replace(images, images=stack.images)
    step = chunk_of(images.box_px)
    for start in range(0, len(rows), step):
        part = np.arange(start, min(start + step, len(rows)))
        chunk = np.asarray(stack.images[rows[part]], dtype=np.float32)[:, :n, :n]
        give_back(stack.images)
        transforms = pose_posterior.masked_transforms(chunk, state.centres_px[part], mask)
        moved = shift_at_points(interpolate.at_points(transforms, points), points, state.centres_px[part], n=n)
        ctfs = _ctfs_at(whole, part, points)
        share = state.probability[part, None].astype(np.float32)
        for parity, sums in enumerate(halves):
            mine = part % 2 == parity
            class_average.add_images(
                sums,
                (moved * ctfs * share)[mine],
                (ctfs**2 * share)[mine],
                class_ids=state.class_id[part][mine],
                psi_deg=state.psi_deg[part][mine],
                points=points,
            )
    averages, ssnr = class_average.solve_classes(*halves)
    return (averages * mask).astype(np.float32), ssnr


def _ctfs_at(images: PolarImages, part: Array, points: Array) -> Array:
    """CTFs `(b, p)` at whole frequencies."""
    return images.ctfs_at(part, points.astype(np.float64))


def _table(images: PolarImages, state: State, count: Array, order: Array, ssnr: Array, r_max: float) -> ClassTable:
    grid = polar.make_grid(images.box_px, r_max=r_max, support_px=images.support_px)
    references = polar.sample(state.averages, grid)
    turn_deg, move_px = angular_sums.accuracy(references, state.mean_weight[:, grid.rings], grid)
    gain = np.bincount(state.class_id, weights=state.evidence, minlength=len(count)) / np.maximum(count, 1)
    return ClassTable.from_columns(
        {
            "class_id": np.arange(len(order), dtype=np.int32),
            "n_particles": count[order].astype(np.int64),
            "resolution_A": np.array([_resolution_A(row, images) for row in ssnr], dtype=np.float32),
            "class_score": gain[order].astype(np.float32),
            "distribution_frac": (count[order] / max(count.sum(), 1)).astype(np.float32),
            "accuracy_rotation_deg": np.minimum(turn_deg, 180.0)[order].astype(np.float32),
            "accuracy_translation_A": np.minimum(move_px * images.pixel_size_A, 1e4)[order].astype(np.float32),
        },
        extra=EXTRA,
    )


def _columns(state: State, rank: Array, pixel_size_A: float) -> dict[str, Array]:
    zero = np.zeros(len(state.class_id), dtype=np.float32)
    shift = (state.centres_px * pixel_size_A).astype(np.float32)
    return {
        "class_id": rank[state.class_id].astype(np.int32),
        "class_probability_frac": state.probability.astype(np.float32),
        "rot_deg": zero,
        "tilt_deg": zero,
        "psi_deg": (np.mod(state.psi_deg + 180.0, 360.0) - 180.0).astype(np.float32),
        "shift_x_A": shift[:, 0],
        "shift_y_A": shift[:, 1],
        "pose_score": state.pose_probability.astype(np.float32),
    }


def _resolution_A(ssnr: Array, images: PolarImages) -> float:
    """Spacing at which the signal to noise ratio of an average first falls below one; the box where it never holds."""
    below = np.flatnonzero(~(ssnr[1:] >= 1.0))
    ring = int(below[0]) if len(below) else images.box_px // 2
    return images.box_px * images.pixel_size_A / max(ring, 1)
