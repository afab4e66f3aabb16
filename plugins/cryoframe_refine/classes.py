"""Three-dimensional classification by expectation-maximisation of K maps, with or without alignment."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Classes3D, ClassTable, ParticleStack, StageContext, Volume, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import filters
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.pose_posterior import PoseEstimate
from cryoframe.numerics.rotations import euler_to_matrix, matrix_to_euler
from cryoframe_refine.admission import check_inputs
from cryoframe_refine.half import Geometry, Half
from cryoframe_refine.inputs import ctfs_of, geometry_of
from cryoframe_refine.mixture import Mixture, expect, expect_at_poses, first_poses, maximise, random_start
from cryoframe_refine.plan import Plan, make_plan

Array = npt.NDArray[Any]

DEVICES = ("cpu",)
_POSE = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A")


@dataclass(frozen=True)
class Params:
    """How many maps, how long, and whether poses are searched too."""

    n_classes: int = 3  # maps in the result
    n_iterations: int = 20  # rounds of expectation and maximisation
    align: bool = True  # search poses against each map; else the particles' poses are kept
    symmetry: str = ""  # point group; empty = that of the reference
    initial_low_pass_A: float = 30.0  # the reference is low-passed to this; the first rounds look no finer
    finest_resolution_A: float = 8.0  # no round looks finer than this
    particle_diameter_A: float = 0.0  # of the soft masks around images and maps; 0 = 85 % of the box
    offset_range_A: float = 0.0  # how far from the box centre a particle may lie; 0 = 20 % of the box
    coarse_step_deg: float = 10.0  # step of the search over all orientations
    n_whole: int = 3  # rounds of one map that search all orientations; then classes part, near the poses found

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            n_classes=(1, 100),
            n_iterations=(1, 1000),
            initial_low_pass_A=(1.0, 1000.0),
            finest_resolution_A=(0.5, 1000.0),
            particle_diameter_A=(0.0, 20000.0),
            offset_range_A=(0.0, 20000.0),
            coarse_step_deg=(0.5, 60.0),
            n_whole=(1, 1000),
        )


@hookimpl
def classify_3d(stack: ParticleStack, reference: Volume, params: Params, ctx: StageContext) -> Classes3D:
    """Sort particles into K maps that start from one map of all, parted at random once poses are found.

    References
    ----------
    Scheres et al., Nat. Methods 4, 27 (2007), doi:10.1038/nmeth992; Scheres, J. Struct. Biol. 180, 519 (2012),
    doi:10.1016/j.jsb.2012.09.006.
    """
    begun, given = time.process_time(), stack.particles
    check_inputs(stack, reference, None)
    if not params.align and not set(_POSE) <= set(given.names):
        raise InvalidInput(
            "classification without alignment needs poses, and the particles have none",
            expected=f"columns {', '.join(_POSE)}",
            remedy="Set align, or refine first.",
        )
    stack, not_finite = stack.finite_by_identity()
    if not_finite:
        ctx.drop(not_finite, "its image holds values that are not finite numbers")
    geometry = geometry_of(stack, reference, None, params)
    state, spent = _run(_images(stack, reference, geometry, params), geometry, params, ctx)
    result = _assemble(stack, state, geometry, params, reference.provenance)
    ctx.report(spent, spent, f"{params.n_classes} classes")
    ctx.metric("resolution_best_class_A", float(state.resolution_A.min()), "Å")
    ctx.metric("decided_frac", float((state.share.max(axis=1) > 0.9).mean()))
    ctx.metric("cpu_s", time.process_time() - begun, "s")
    return Classes3D(result.volumes, result.classes, result.particles.ordered_like(given))


def _images(stack: ParticleStack, reference: Volume, geometry: Geometry, params: Params) -> Half:
    """All images as one set, with the poses they came with where those are kept."""
    table, rows = stack.particles, np.arange(len(stack.particles))
    start = filters.filter_pass(
        np.asarray(reference.data, dtype=np.float32),
        pixel_size_A=geometry.pixel_size_A,
        n_dims=3,
        low_pass_A=params.initial_low_pass_A,
    )
    poses = None
    if not params.align:
        rotations = euler_to_matrix(*(table.floats(name) for name in _POSE[:3]))
        shifts = np.stack([table.floats(name) for name in _POSE[3:]], axis=1) / geometry.pixel_size_A
        poses = PoseEstimate(rotations, shifts, np.ones(len(rows)))
    return Half(
        np.asarray(stack.images, dtype=np.float32),
        ctfs_of(stack, rows),
        np.asarray(table.column("optics_group")).astype(str),
        (start * geometry.volume_mask).astype(np.float32),
        poses,
    )


def _run(images: Half, geometry: Geometry, params: Params, ctx: StageContext) -> tuple[Mixture, int]:
    """All rounds; returns the last state and the steps reported."""
    m, k = len(images.images), min(params.n_classes, len(images.images) // 2)
    n_whole = params.n_whole if params.align else 0
    steps = _Steps(ctx, m * (n_whole + params.n_iterations * k))
    state = _common(images, geometry, params, steps)
    # Parted only now: maps that part before poses are found part by misalignment, not by structure.
    state = maximise(replace(state, share=random_start(m, k, ctx.rng)), geometry)
    reached_A = params.initial_low_pass_A
    for iteration in range(params.n_iterations):
        steps.begin(m * (n_whole + iteration * k), f"round {iteration + 1}, {reached_A:.1f} Å")
        limit_A = max(reached_A, params.finest_resolution_A, 2.15 * geometry.pixel_size_A)
        before = state.share.argmax(axis=1)
        if params.align:
            state = maximise(
                expect(state, geometry, _plan(geometry, params, limit_A, whole=False), steps.done), geometry
            )
        else:
            state = maximise(expect_at_poses(state, geometry, limit_A), geometry)
        reached_A = min(reached_A, float(np.median(state.resolution_A)))
        moved = float((state.share.argmax(axis=1) != before).mean())
        sizes = ", ".join(f"{100 * part:.0f} %" for part in state.share.mean(axis=0))
        ctx.log(f"round {iteration + 1}: {reached_A:.2f} Å, {100 * moved:.1f} % changed class; classes hold {sizes}")
        if moved < 0.002 and iteration > 5:
            break
    return state, steps.total


def _common(images: Half, geometry: Geometry, params: Params, steps: _Steps) -> Mixture:
    """One map of all images, at the poses they have or at those found against it."""
    m = len(images.images)
    alone = Mixture(images, np.empty((0,)), np.ones((m, 1)), np.zeros(m), np.full(1, np.inf))
    limit_A = params.initial_low_pass_A
    for iteration in range(params.n_whole if params.align else 0):
        steps.begin(m * iteration, f"one map, {limit_A:.1f} Å")
        plan = _plan(geometry, params, limit_A, whole=True)
        if iteration:
            alone = expect(alone, geometry, plan, steps.done)
        else:
            alone = replace(alone, images=first_poses(images, geometry, plan, steps.done))
        alone = maximise(alone, geometry)
        limit_A = max(min(limit_A, float(alone.resolution_A[0])), params.finest_resolution_A)
    return alone


def _plan(geometry: Geometry, params: Params, limit_A: float, *, whole: bool) -> Plan:
    return make_plan(
        whole=whole,
        coarse_step_deg=params.coarse_step_deg,
        diameter_A=params.particle_diameter_A or 0.85 * geometry.box_px * geometry.pixel_size_A,
        resolution_A=max(limit_A, 2.15 * geometry.pixel_size_A),
    )


@dataclass
class _Steps:
    """Where the work is, for whoever watches and for whoever wants to stop it."""

    ctx: StageContext
    total: int
    base: int = 0
    message: str = ""

    def begin(self, base: int, message: str) -> None:
        """Say what comes next."""
        self.base, self.message = base, message
        self.done(0)

    def done(self, n_done: int) -> None:
        """Say how much of it is done."""
        self.ctx.report(min(self.base + n_done, self.total), self.total, self.message)


def _assemble(stack: ParticleStack, state: Mixture, geometry: Geometry, params: Params, provenance: str) -> Classes3D:
    """Volumes from the most populated class on, their table, and particles with class and pose."""
    best = state.share.argmax(axis=1)
    count = np.bincount(best, minlength=len(state.references))
    order = np.argsort(-count, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    evidence = np.bincount(best, weights=state.evidence, minlength=len(count)) / np.maximum(count, 1)
    columns: dict[str, Array] = {
        "class_id": rank[best].astype(np.int32),
        "class_probability_frac": np.minimum(state.share.max(axis=1), 1.0).astype(np.float32),
    }
    poses = state.images.poses
    if params.align and poses is not None:
        angles = matrix_to_euler(poses.rotations)
        shifts = poses.shifts_px.T * geometry.pixel_size_A
        for name, values in zip((*_POSE, "pose_score"), (*angles, *shifts, poses.probability), strict=True):
            columns[name] = values.astype(np.float32)
    volumes = tuple(
        Volume(state.references[index], geometry.pixel_size_A, geometry.symmetry, provenance) for index in order
    )
    classes = ClassTable.from_columns(
        {
            "class_id": np.arange(len(order), dtype=np.int32),
            "n_particles": count[order].astype(np.int64),
            "resolution_A": state.resolution_A[order].astype(np.float32),
            "class_score": evidence[order].astype(np.float32),
        }
    )
    return Classes3D(volumes, classes, stack.particles.with_columns(columns))
