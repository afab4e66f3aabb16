"""Refinement of two half-sets that share only what their regulariser tells them of each other.

First iterations search all orientations by angular series (`refine_whole`), later ones stay near the poses that hold
the posterior (`refine_near`). How maps are regularised between iterations is a strategy; all else is the same for all
refiners.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryoframe import Mask, ParticleStack, Refinement, StageContext, Volume
from cryoframe.numerics import fsc, polar_images, reconstruction, refine_near
from cryoframe.numerics.blas_threads import one_blas_thread
from cryoframe.numerics.insertion import Accumulator
from cryoframe.numerics.refine_images import ImageSet
from cryoframe.numerics.refine_whole import Lattice, Spectra
from cryoframe.numerics.symmetry import reduce_pose_error
from cryoframe_refine import halfset
from cryoframe_refine.admission import check_halves, check_inputs, in_order
from cryoframe_refine.checkpoint import Checkpoint, open_checkpoint
from cryoframe_refine.half import Geometry
from cryoframe_refine.halfset import HalfSet
from cryoframe_refine.inputs import Extent, geometry_of, image_sets, start_of
from cryoframe_refine.plan import limit_of
from cryoframe_refine.products import Row, assemble, fsc_table
from cryoframe_refine.regularisation import Regulariser

F32 = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

# Maps are summed this much finer than images are scored, so that resolution can grow.
_FINER = 1.6


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


#: Halves that agree no further than this share of the spacing both began with may have it from that start: its edge and
#: the mask's smear let pure noise, summed over its posteriors, agree to 0.75 of it.
_BOUND_FRAC = 0.7


@dataclass(frozen=True)
class _Call:
    """What stays the same during a refinement."""

    geometry: Geometry
    params: Settings
    ctx: StageContext
    regulariser: Regulariser
    diameter_A: float
    total: int
    start: F32

    @property
    def nyquist_A(self) -> float:
        """Finest spacing that is scored."""
        return 2.15 * self.geometry.pixel_size_A

    def scored_A(self, iteration: int, resolution_A: float) -> float:
        """Finest spacing that a search over all orientations scores: what its step can tell, and the map holds."""
        start = self.params.initial_low_pass_A
        coarse = limit_of(self.params.coarse_step_deg, self.diameter_A)
        wanted = start if not iteration else min(start, max(resolution_A, coarse))
        # At least four rings: fewer tell no orientation.
        return max(min(wanted, self.geometry.box_px * self.geometry.pixel_size_A / 4.0), self.nyquist_A)

    def lattice(self, iteration: int, resolution_A: float, sigma_px: float, *, all_seen: bool) -> Lattice:
        """What a search over all orientations looks at."""
        scored_A = self.scored_A(iteration, resolution_A)
        step_deg = max(self.params.coarse_step_deg, float(np.degrees(scored_A / self.diameter_A)))
        shift_step_px = max(1.0, scored_A / 4.0 / self.geometry.pixel_size_A)
        reach_px = self.geometry.offset_range_px
        if iteration:
            reach_px = min(reach_px, 1.5 * shift_step_px if all_seen else 3.0 * sigma_px)
        r_score = self.geometry.ring(scored_A)
        return Lattice(
            r_score, min(_FINER * r_score + 2.0, self.geometry.box_px / 2 - 2.0), step_deg, reach_px, shift_step_px
        )

    def near_plan(self, resolution_A: float) -> refine_near.Plan:
        """What a near search looks at: a little finer than the halves agree to."""
        fine_A = max(0.95 * resolution_A, self.nyquist_A)
        step_deg = 0.5 * self.params.coarse_step_deg
        return refine_near.Plan(
            r_max=self.geometry.ring(fine_A),
            # A quarter of the finest spacing, at the rim of a particle.
            least_step_deg=float(np.degrees(0.25 * fine_A / self.diameter_A)),
            shift_step_px=max(fine_A / 6.0 / self.geometry.pixel_size_A, 0.2),
            first_step_deg=step_deg,
            first_r_max=self.geometry.ring(max(fine_A, 1.2 * limit_of(step_deg, self.diameter_A))),
        )


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
    started = time.process_time()
    check_inputs(stack, reference, mask)
    geometry = geometry_of(stack, reference, mask, params)
    diameter_A = params.particle_diameter_A or 0.85 * geometry.box_px * geometry.pixel_size_A
    order, dropped, digests = in_order(stack, lambda: ctx.report(0, 1, "reading particles"))
    for why, identities in dropped.items():
        ctx.drop(identities, why)
    particles = stack.particles.select(order)
    check_halves(particles, digests[order], diameter_A)
    sets = image_sets(replace(stack, particles=particles), order, geometry)
    start = start_of(reference, geometry, params.initial_low_pass_A, finer=_FINER)
    call = _Call(geometry, params, ctx, regulariser, diameter_A, params.n_iterations * sum(map(len, sets)), start)
    checkpoint = open_checkpoint(ctx, stack, reference, mask, (params, regulariser))
    halves = [HalfSet(images, *_blank(images)) for images in sets]
    kept = checkpoint.load(halves)
    if kept is None:
        lattice = call.lattice(0, params.initial_low_pass_A, 0.0, all_seen=False)
        with one_blas_thread():
            halves = [halfset.begin(images, start, geometry, lattice) for images in sets]
        rows: list[Row] = []
    else:
        halves, rows = kept
        ctx.log(f"taken up after iteration {len(rows)}")
    with one_blas_thread():
        halves, rows = _iterate(halves, rows, call, checkpoint)
    result = _finish(halves, rows, call, replace(stack, particles=particles), reference.provenance)
    _tell(result, ctx, params.initial_low_pass_A)
    _tell_left_out(halves, ctx)
    ctx.metric("cpu_s", time.process_time() - started, "s")
    return replace(result, particles=result.particles.ordered_like(stack.particles))


def _blank(images: ImageSet) -> tuple[F32, Spectra]:
    nothing = np.zeros((2, 2, 2), np.float32)
    return nothing, Spectra(np.ones((images.n_groups, 1)), np.ones(len(images)), 1.0)


def _iterate(
    halves: list[HalfSet], rows: list[Row], call: _Call, checkpoint: Checkpoint
) -> tuple[list[HalfSet], list[Row]]:
    """Iterate from the rows there are to the end."""
    params, ctx = call.params, call.ctx
    best_A = [params.initial_low_pass_A, *(row[1] for row in rows)]
    for iteration in range(len(rows), params.n_iterations):
        before_A = min(best_A)
        if rows and _settled(rows, best_A, params):
            break
        found, sums, r_sum = _search(halves, iteration, before_A, call)
        angle, shift = _change(halves, found, call.geometry)
        halves, resolution_A = _maximise(found, sums, call, r_sum=r_sum, measure=iteration >= params.n_whole)
        rows = [*rows, (iteration + 1, resolution_A, angle, shift)]
        best_A.append(resolution_A)
        checkpoint.save(halves, rows)
        ctx.log(
            f"iteration {iteration + 1}: {resolution_A:.2f} Å, poses moved {angle:.2f}° and {shift:.2f} Å"
            + _left_out_said(found, whole=iteration < params.n_whole)
        )
    ctx.report(call.total, call.total, f"{min(best_A):.1f} Å")
    return halves, rows


def _left_out_said(found: list[HalfSet], *, whole: bool) -> str:
    """Say what the search left out of the posteriors, where that is more than a thousandth."""
    share = float(np.mean([half.left_out.beyond if whole else half.left_out.rim for half in found]))
    where = "beyond the orientations that a near search would begin with" if whole else "at the rim of the lattices"
    return f", {share:.1e} of the posterior {where}" if share > 1e-3 else ""


def _settled(rows: list[Row], best_A: list[float], params: Settings) -> bool:
    """Poses and resolution stand still."""
    return (
        len(rows) > params.n_whole + 1
        and rows[-1][2] < params.stop_angle_deg
        and rows[-1][1] >= 0.98 * min(best_A[:-1])
    )


def _search(
    halves: list[HalfSet], iteration: int, resolution_A: float, call: _Call
) -> tuple[list[HalfSet], list[Accumulator], float]:
    """Poses of both half-sets, each against its own map, the sums of their next maps, and the last ring summed."""
    found, sums, r_sum = [], [], 0.0
    done = iteration * sum(len(half.images) for half in halves)
    message = f"iteration {iteration + 1}, {resolution_A:.1f} Å"
    call.ctx.report(done, call.total, message)
    for half in halves:
        on_block = partial(_report, call, done, message)
        if iteration < call.params.n_whole:
            new, part, r_sum = _whole(half, iteration, resolution_A, call, on_block)
        else:
            new = halfset.search_near(half, call.geometry, call.near_plan(resolution_A), on_block=on_block)
            # Each half-set by itself, to the few rings that both began with: they learn nothing of each other.
            new = halfset.brought_back(new, call.geometry, call.start, spacing_A=call.params.initial_low_pass_A)
            part = halfset.sums_of(new, call.geometry, side=_side(call, _FINER * call.geometry.ring(resolution_A)))
            r_sum = 0.5 * part.box_px - 1.0
        found.append(new)
        sums.append(part)
        done += len(half.images)
    return found, sums, r_sum


def _whole(
    half: HalfSet, iteration: int, resolution_A: float, call: _Call, on_block: partial[None]
) -> tuple[HalfSet, Accumulator, float]:
    """Search all orientations: at first of some images, of all in the last such iteration."""
    m, last = len(half.images), iteration == call.params.n_whole - 1
    n_first = m if last else min(m, halfset.N_FIRST * (iteration + 1))
    rows = np.linspace(0, m - 1, n_first).astype(np.int64)
    seen = half.modes is not None and m <= halfset.N_FIRST
    lattice = call.lattice(iteration, resolution_A, half.spectra.sigma_px, all_seen=seen)
    if not seen:
        half = replace(half, modes=None)
    found, sums = halfset.search_whole(
        half, call.geometry, lattice, rows=rows, side=_side(call, lattice.r_sum), on_block=on_block
    )
    return found, sums, lattice.r_sum


def _side(call: _Call, r_max: float) -> int:
    """Voxels of a map whose sums end at that ring."""
    return polar_images.cropped_side(call.geometry.box_px, r_max)


def _report(call: _Call, base: int, message: str, n_done: int) -> None:
    call.ctx.report(base + n_done, call.total, message)


def _maximise(
    found: list[HalfSet], sums: Sequence[Accumulator], call: _Call, *, r_sum: float, measure: bool
) -> tuple[list[HalfSet], float]:
    """Maps of both half-sets, regularised by how far they agree."""
    geometry = call.geometry.at_side(sums[0].box_px)
    first, second = (reconstruction.solve(part, wiener=0.1) for part in sums)
    curve = fsc.fsc_curve(first, second, pixel_size_A=geometry.pixel_size_A, mask=geometry.volume_mask)
    agreed = np.where(np.arange(len(curve.fsc)) <= r_sum, curve.fsc, 0.0)
    resolution_A = fsc.resolution_at(curve.frequency_1_A, agreed, 0.143).resolution_A
    maps = call.regulariser.half_maps(sums, (first, second), agreed, geometry)
    halves = [
        halfset.update(
            half,
            call.geometry,
            volume,
            resolution_A=resolution_A,
            measure=measure,
            # Early maps are too coarse to tell protein from solvent.
            flatten=measure and call.regulariser.flatten_solvent,
        )
        for half, volume in zip(found, maps, strict=True)
    ]
    return halves, resolution_A


def _finish(halves: list[HalfSet], rows: list[Row], call: _Call, stack: ParticleStack, provenance: str) -> Refinement:
    """Products of the poses found, to the last shell of the box."""
    geometry = call.geometry
    sums = [halfset.sums_of(half, geometry, side=geometry.box_px) for half in halves]
    first, second = (reconstruction.solve(part, wiener=0.1) for part in sums)
    table = fsc_table(first, second, geometry)
    both = call.regulariser.full_map(sums, (first, second), table.floats("fsc_masked"), geometry)
    return assemble(
        stack, halves, (both, first, second), table=table, geometry=geometry, rows=rows, provenance=provenance
    )


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


def _tell_left_out(halves: list[HalfSet], ctx: StageContext) -> None:
    """Report what searches left out of the posteriors."""
    ctx.metric("left_out_posterior_max", max(half.left_out.largest for half in halves))
    ctx.metric("left_out_candidates_mean", float(np.mean([half.left_out.beyond for half in halves])))
    ctx.metric("left_out_rim_mean", float(np.mean([half.left_out.rim for half in halves])))


def _change(before: list[HalfSet], after: list[HalfSet], geometry: Geometry) -> tuple[float, float]:
    """Median change of orientation [deg] and translation [Å] of all particles."""
    angles, shifts = [], []
    for old, new in zip(before, after, strict=True):
        if old.modes is None or new.modes is None:
            return 180.0, geometry.offset_range_px * geometry.pixel_size_A
        angles.append(reduce_pose_error(old.modes.rotations[:, 0], new.modes.rotations[:, 0], geometry.symmetry))
        shifts.append(np.linalg.norm(old.modes.shifts_px[:, 0] - new.modes.shifts_px[:, 0], axis=1))
    return float(np.median(np.concatenate(angles))), float(np.median(np.concatenate(shifts)) * geometry.pixel_size_A)
