"""Refinement by projection matching of two half-sets that share only what their regulariser tells them of each other.

How maps are regularised between iterations is a strategy; everything else is the same for all refiners.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume
from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf, filters, fsc, masks, reconstruction
from cryoframe.numerics.symmetry import reduce_pose_error, rotation_matrices
from cryoframe_refine.admission import check_halves, check_inputs
from cryoframe_refine.half import Geometry, Half, search, update
from cryoframe_refine.plan import make_plan
from cryoframe_refine.products import Row, assemble, fsc_table
from cryoframe_refine.regularisation import Regulariser

F32 = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]


class Extent(Protocol):
    """What settings must hold for the extent of particles and of their search."""

    @property
    def symmetry(self) -> str:
        """Point group; empty = that of the reference."""

    @property
    def particle_diameter_A(self) -> float:
        """Of the soft masks; 0 = 85 % of the box."""

    @property
    def offset_range_A(self) -> float:
        """How far from the box centre a particle may lie; 0 = 20 % of the box."""


class Settings(Extent, Protocol):
    """What a refiner's own settings must hold."""

    @property
    def initial_low_pass_A(self) -> float:
        """What the reference is low-passed to."""

    @property
    def coarse_step_deg(self) -> float:
        """Step of the search over all orientations."""

    @property
    def n_whole(self) -> int:
        """Iterations that search all orientations."""

    @property
    def n_iterations(self) -> int:
        """At most this many."""

    @property
    def stop_angle_deg(self) -> float:
        """Median change of orientation that ends it."""


#: Halves that agree no further than this share of the spacing both began with may have it from that start.
_BOUND_FRAC = 0.75


@dataclass
class _Progress:
    """Resolution and poses from iteration to iteration."""

    resolution_A: float
    rows: list[Row]


def refine(
    stack: ParticleStack,
    reference: Volume,
    mask: Mask | None,
    *,
    params: Settings,
    ctx: StageContext,
    regulariser: Regulariser,
) -> Refinement:
    """Refine poses and map of two half-sets that never see each other's images."""
    given = stack.particles
    check_inputs(stack, reference, mask)
    stack, not_finite = stack.finite_by_identity()
    if not_finite:
        ctx.drop(not_finite, "its image holds values that are not finite numbers")
    geometry = geometry_of(stack, reference, mask, params)
    diameter_A = params.particle_diameter_A or 0.85 * geometry.box_px * geometry.pixel_size_A
    check_halves(stack, diameter_A)
    halves = _halves(stack, reference, geometry, params)
    progress = _Progress(params.initial_low_pass_A, [])
    total = params.n_iterations * sum(len(half.images) for half in halves)
    done, started = 0, time.process_time()
    for iteration in range(params.n_iterations):
        plan = make_plan(
            whole=iteration < params.n_whole,
            coarse_step_deg=params.coarse_step_deg,
            diameter_A=diameter_A,
            resolution_A=max(0.85 * progress.resolution_A, 2.15 * geometry.pixel_size_A),
        )
        found, sums = [], []
        for half in halves:
            message = f"iteration {iteration + 1}, {progress.resolution_A:.1f} Å"
            new, part = search(half, geometry, plan, partial(_report, ctx, done, total, message))
            found.append(new)
            sums.append(part)
            done += len(half.images)
            ctx.report(done, total, message)
        angle, shift = _change(halves, found, geometry)
        first, second = (reconstruction.solve(part, wiener=0.1) for part in sums)
        curve = fsc.fsc_curve(first, second, pixel_size_A=geometry.pixel_size_A, mask=geometry.volume_mask)
        resolution_A = fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.143).resolution_A
        maps = regulariser.half_maps(sums, (first, second), curve.fsc, geometry)
        halves = [update(half, geometry, volume) for half, volume in zip(found, maps, strict=True)]
        progress.rows.append((iteration + 1, resolution_A, angle, shift))
        ctx.log(f"iteration {iteration + 1}: {resolution_A:.2f} Å, poses moved {angle:.2f}° and {shift:.2f} Å")
        settled = iteration >= params.n_whole and angle < params.stop_angle_deg
        improved = resolution_A < 0.98 * progress.resolution_A
        progress.resolution_A = min(resolution_A, progress.resolution_A)
        if settled and not improved:
            break
    ctx.report(total, total, f"{progress.resolution_A:.1f} Å")
    table = fsc_table(first, second, geometry)
    both = regulariser.full_map(sums, (first, second), table.floats("fsc_masked"), geometry)
    result = assemble(
        stack,
        halves,
        (both, first, second),
        table=table,
        geometry=geometry,
        rows=progress.rows,
        provenance=reference.provenance,
    )
    _tell(result, ctx, params.initial_low_pass_A)
    ctx.metric("cpu_s", time.process_time() - started, "s")
    return replace(result, particles=result.particles.ordered_like(given))


def _tell(result: Refinement, ctx: StageContext, initial_low_pass_A: float) -> None:
    """Report the resolution within the mask, and say so where the box or the start rather than the data made it."""
    reached = fsc.resolution_at(result.fsc.floats("frequency_1_A"), result.fsc.floats("fsc_masked"), 0.143)
    ctx.metric("resolution_masked_A", reached.resolution_A, "Å")
    bound = reached.resolution_A > _BOUND_FRAC * initial_low_pass_A
    ctx.metric("bound_to_start", float(bound))
    if bound:
        ctx.log(
            f"the half-maps agree to {reached.resolution_A:.1f} Å and both began as one map of {initial_low_pass_A:g} Å"
            ": noise aligned to that start would agree as far. Take this map for nothing but its start, and try another"
        )
    if reached.how == "never below":
        ctx.log(
            f"the masked FSC never falls below 0.143: {reached.resolution_A:.2f} Å is at Nyquist, set by the pixel and "
            "not by the data; extract with smaller pixels to see what the data hold"
        )


def _report(ctx: StageContext, base: int, total: int, message: str, n_done: int) -> None:
    ctx.report(base + n_done, total, message)


def geometry_of(stack: ParticleStack, reference: Volume, mask: Mask | None, params: Extent) -> Geometry:
    """Masks, symmetry and sampling of a stack and its settings."""
    n = int(stack.images.shape[-1])
    group = params.symmetry or reference.symmetry
    pixel = stack.pixel_size_A
    radius_px = 0.5 * (params.particle_diameter_A / pixel or 0.85 * n)
    edge_px = max(3.0, 0.06 * n)
    inner = min(radius_px, n / 2 - 1) - 0.5 * edge_px
    ball = masks.spherical_mask(n, inner, edge_px=edge_px)
    return Geometry(
        box_px=n,
        pixel_size_A=pixel,
        symmetry=group,
        operators=rotation_matrices(group),
        image_mask=masks.circular_mask(n, inner, edge_px=edge_px),
        volume_mask=ball if mask is None else ball * mask.data,
        offset_range_px=params.offset_range_A / pixel or 0.2 * n,
    )


def _halves(stack: ParticleStack, reference: Volume, geometry: Geometry, params: Settings) -> list[Half]:
    particles = stack.particles
    half_of = np.asarray(particles.column("half"))
    start = filters.filter_pass(
        np.asarray(reference.data, dtype=np.float32),
        pixel_size_A=geometry.pixel_size_A,
        n_dims=3,
        low_pass_A=params.initial_low_pass_A,
    )
    start = (start * geometry.volume_mask).astype(np.float32)
    halves = []
    for number in (1, 2):
        rows = np.flatnonzero(half_of == number)
        if not len(rows):
            raise InvalidInput(
                f"half-set {number} has no particles", expected="particles in half-sets 1 and 2 (column `half`)"
            )
        images = np.asarray(stack.images[rows], dtype=np.float32)
        groups = np.asarray(particles.column("optics_group"))[rows].astype(str)
        halves.append(Half(images, ctfs_of(stack, rows), groups, start))
    return halves


def ctfs_of(stack: ParticleStack, rows: npt.NDArray[np.int64]) -> F32:
    """CTFs `(m, n, n//2 + 1)` of some particles."""
    n = int(stack.images.shape[-1])
    optics = {o.optics_group: (o.voltage_kV, o.cs_mm, o.amplitude_contrast_frac) for o in stack.optics}
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    columns = {name: stack.particles.floats(name)[rows] for name in names}
    groups = stack.particles.column("optics_group")[rows]
    return ctf.ctf_of_groups(n, stack.pixel_size_A, groups=groups, optics=optics, columns=columns)


def _change(before: list[Half], after: list[Half], geometry: Geometry) -> tuple[float, float]:
    """Median change of orientation [deg] and translation [Å] of all particles."""
    angles, shifts = [], []
    for old, new in zip(before, after, strict=True):
        if old.poses is None or new.poses is None:
            return 180.0, geometry.offset_range_px * geometry.pixel_size_A
        angles.append(reduce_pose_error(old.poses.rotations, new.poses.rotations, geometry.symmetry))
        shifts.append(np.linalg.norm(old.poses.shifts_px - new.poses.shifts_px, axis=1))
    return float(np.median(np.concatenate(angles))), float(np.median(np.concatenate(shifts)) * geometry.pixel_size_A)
