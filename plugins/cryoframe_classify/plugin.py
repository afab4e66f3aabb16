"""Two-dimensional classification by expectation-maximisation from random starts. No numerics of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ParticleStack, StageContext, hookimpl
from cryoframe.numerics import polar_images
from cryoframe.numerics.bounds import check_bounds, check_extent, check_order
from cryoframe_classify import products
from cryoframe_classify.expectation import Sampling, State, expect_and_maximise, random_start, without_redundant

Array = npt.NDArray[Any]

DEVICES = ("cpu",)
#: Fewer images than this make no classes.
FEWEST = 10
# Images a class of the rounds that see a part of a large set, while views are sorted out; twice as many afterwards.
_PER_CLASS = 100
_FEWEST_OF_PART = 5000


@dataclass(frozen=True)
class Params:
    """How many classes, how long, how fine."""

    n_classes: int = 16  # classes in the result; some may end empty
    n_iterations: int = 25  # rounds of expectation and maximisation
    particle_diameter_A: float = 0.0  # where the soft mask around images and averages ends; 0 = 85 % of the box
    offset_range_A: float = 0.0  # how far from the box centre a particle may lie; 0 = 20 % of the box
    start_resolution_A: float = 35.0  # finest spacing used in the first round
    finest_resolution_A: float = 12.0  # finest spacing used in the last rounds
    balance_frac: float = 0.5  # 1 = classes of equal size, 0 = as large as they grow
    ignore_ctf: bool = False  # take images as free of CTF effects: negative stain, phase plates in focus

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
            balance_frac=(0.0, 1.0),
        )
        check_order(self, "finest_resolution_A", "start_resolution_A")


@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    """Average like views without a reference.

    Images are cropped to the finest resolution used, read a chunk at a time; all else works on what is left.

    References
    ----------
    Scheres et al., J. Mol. Biol. 348, 139 (2005), doi:10.1016/j.jmb.2005.02.031; Scheres, J. Struct. Biol. 180, 519
    (2012), doi:10.1016/j.jsb.2012.09.006.
    """
    begun = time.process_time()
    stack.require("classify", fewest=FEWEST, ctf=not params.ignore_ctf)
    rows = np.argsort(np.asarray(stack.particles.column("particle_id")), kind="stable")
    rows, images = open_images(stack, rows, params, ctx)
    state = from_nothing(images, params, ctx)
    return told(stack, rows, images, state, params=params, ctx=ctx, begun=begun)


def from_nothing(images: polar_images.PolarImages, params: Params, ctx: StageContext) -> State:
    """State after all rounds from a random start."""
    m = len(images.images)
    low = images.box_px * images.pixel_size_A / params.start_resolution_A
    state = random_start(images, n_classes_of(m, params)[0], _ring(images, low), ctx.rng, each=3)
    return go_on(images, state, params, ctx)


def n_classes_of(m: int, params: Params) -> tuple[int, int]:
    """Classes of the first rounds and of the last, for `m` images."""
    n_classes = min(params.n_classes, m // 2)
    return min(max(n_classes + n_classes // 2, min(8, m // 10)), m // 2), n_classes


def go_on(images: polar_images.PolarImages, state: State, params: Params, ctx: StageContext) -> State:
    """State after all rounds; classes that are needless go by and by.

    Of a large set, rounds but the last see a random part that grows, as many images as classes need to take shape.

    References
    ----------
    EM on random parts: Kimanius, Dong, Sharov, Nakane & Scheres, Biochem. J. 478, 4169 (2021),
    doi:10.1042/BCJ20210708; incremental EM: Neal & Hinton (1998), doi:10.1007/978-94-011-5014-9_12.
    """
    m = len(images.images)
    n_start, n_classes = n_classes_of(m, params)
    order, placed = ctx.rng.permutation(m), np.zeros(m, dtype=bool)
    for iteration in range(params.n_iterations):
        state = without_redundant(state, _classes_by(iteration, n_start, n_classes, params.n_iterations))
        rows = np.sort(order[: _images_by(iteration, m, n_classes, params)])
        fresh = rows[~placed[rows]]
        if iteration and len(fresh):
            state = _place(images, state, iteration, params, rows=fresh, ctx=ctx)
        placed[rows] = True
        state = one_round(images, state, iteration, params, ctx=ctx, rows=rows)
    return state


def _images_by(iteration: int, m: int, n_classes: int, params: Params) -> int:
    """Images of a round."""
    if iteration >= params.n_iterations - 1:
        return m
    each = _PER_CLASS if iteration < 0.6 * params.n_iterations else 2 * _PER_CLASS
    return min(m, max(each * n_classes, _FEWEST_OF_PART))


def _place(
    images: polar_images.PolarImages, state: State, iteration: int, params: Params, *, rows: Array, ctx: StageContext
) -> State:
    """State in which images that no round has seen have their translation, at low resolution and over a wide range."""
    length_A = images.box_px * images.pixel_size_A
    r_max = min(
        sampling_of(iteration, images, params).r_max, _ring(images, length_A / (1.7 * params.finest_resolution_A))
    )
    spacing_px = images.box_px / r_max
    reach_px = min(range_px(images, params), max(4.0 * state.sigma_px, 0.6 * spacing_px))
    m = len(images.images)
    found = expect_and_maximise(
        images,
        state,
        Sampling(r_max, reach_px, spacing_px / 4.0),
        balance=params.balance_frac,
        largest_shift_px=range_px(images, params),
        on_batch=partial(_report_placing, ctx, iteration * m, params.n_iterations * m),
        rows=rows,
    )
    return replace(state, centres_px=found.centres_px)


def one_round(
    images: polar_images.PolarImages,
    state: State,
    iteration: int,
    params: Params,
    *,
    ctx: StageContext,
    rows: Array | None = None,
) -> State:
    """State after the round of that number, over all images or those of `rows`."""
    m = len(images.images)
    sampling = sampling_of(iteration, images, params)
    spacing_A = images.box_px * images.pixel_size_A / sampling.r_max
    message = f"round {iteration + 1}, {len(state.averages)} classes, {spacing_A:.1f} Å"
    return expect_and_maximise(
        images,
        state,
        sampling,
        balance=params.balance_frac,
        largest_shift_px=range_px(images, params),
        on_batch=partial(_report, ctx, iteration * m, params.n_iterations * m, message),
        rows=rows,
    )


def told(
    stack: ParticleStack,
    rows: Array,
    images: polar_images.PolarImages,
    state: State,
    *,
    params: Params,
    ctx: StageContext,
    begun: float,
) -> Classes2D:
    """What is handed on, and said of it; `begun` is the process's time [s] when the stage was."""
    result = products.assemble(stack, rows, images, state, sampling_of(params.n_iterations - 1, images, params).r_max)
    _tell(result, state, ctx)
    total = params.n_iterations * len(rows)
    ctx.report(total, total, f"{len(state.averages)} classes")
    ctx.metric("cpu_s", time.process_time() - begun, "s")
    return result


def open_images(
    stack: ParticleStack, rows: Array, params: Params, ctx: StageContext
) -> tuple[Array, polar_images.PolarImages]:
    """Cropped images in the order of their identities, without those that cannot be of particles."""
    n, pixel = int(stack.images.shape[-1]), stack.pixel_size_A
    check_extent(n * pixel, particle_diameter_A=params.particle_diameter_A, offset_range_A=params.offset_range_A)
    side = polar_images.cropped_side(n, min(n * pixel / params.finest_resolution_A, 0.48 * n))
    chunk_done = partial(_report_reading, ctx, len(rows))
    images, spread = polar_images.crop(stack.images, rows, side, folder=ctx.workdir, on_chunk=chunk_done)
    identities = np.asarray(stack.particles.column("particle_id"))[rows]
    usable = polar_images.fit_images(spread, identities, ctx.drop, fewest=FEWEST)
    if not usable.all():
        images, rows = images[usable], rows[usable]
    if (n_classes := n_classes_of(len(rows), params)[1]) < params.n_classes:
        ctx.log(f"{params.n_classes} classes were asked for and {n_classes} are made: half of the {len(rows)} images")
    radius_px = min(0.5 * (params.particle_diameter_A / pixel or 0.85 * n), n / 2 - 1)
    edge_px = min(max(3.0, 0.06 * n), radius_px)
    optics = products.optics_of(stack, rows, ignore_ctf=params.ignore_ctf)
    return rows, polar_images.PolarImages(images, n, pixel, optics, radius_px - 0.5 * edge_px, edge_px)


def _report(ctx: StageContext, base: int, total: int, message: str, n_done: int) -> None:
    ctx.report(base + n_done, total, message)


def _report_placing(ctx: StageContext, base: int, total: int, n_done: int) -> None:
    del n_done  # the bar counts rounds
    ctx.report(base, total, "finding where further images are")


def _report_reading(ctx: StageContext, total: int, n_done: int) -> None:
    del n_done  # the bar counts rounds; this only lets the reading be stopped
    ctx.report(0, total, "reading images")


def range_px(images: polar_images.PolarImages, params: Params) -> float:
    """How far from the box centre a particle may lie [px]."""
    return params.offset_range_A / images.pixel_size_A or 0.2 * images.box_px


def _ring(images: polar_images.PolarImages, wanted: float) -> float:
    """A ring the cropped images hold, of three at least."""
    return float(np.clip(wanted, 3.0, images.images.shape[-1] / 2 - 2))


def sampling_of(iteration: int, images: polar_images.PolarImages, params: Params) -> Sampling:
    """Resolution rises linearly in frequency over six tenths of the rounds; all translations in the first three."""
    rise = min(1.0, iteration / max(1.0, 0.6 * params.n_iterations))
    length_A = images.box_px * images.pixel_size_A
    low, high = length_A / params.start_resolution_A, length_A / params.finest_resolution_A
    r_max = _ring(images, low + rise * (high - low))
    spacing_px = images.box_px / r_max
    whole = range_px(images, params)
    if iteration < 3:
        return Sampling(r_max, whole, spacing_px / 3.5)
    if iteration < max(4, params.n_iterations // 3):
        return Sampling(r_max, min(whole, 0.6 * spacing_px), spacing_px / 4.0)
    step_px = max(0.7, spacing_px / 5.0)
    return Sampling(r_max, 2.0 * step_px, step_px)


def _classes_by(iteration: int, n_start: int, n_classes: int, n_iterations: int) -> int:
    """Classes of a round: more at the start, so that every view finds one; the needless ones go by six tenths."""
    begin, end = 0.25 * n_iterations, 0.6 * n_iterations
    if iteration >= n_iterations - 1:
        return n_classes
    gone = float(np.clip((iteration - begin) / max(end - begin, 1.0), 0.0, 1.0))
    return n_start - int(gone * (n_start - n_classes))


def _tell(result: Classes2D, state: State, ctx: StageContext) -> None:
    best = result.classes.floats("resolution_A").min(initial=np.inf)
    ctx.log(
        f"{len(result.classes)} classes, best {best:.1f} Å; at most {state.lost.max(initial=0.0):.1e} of a posterior "
        "was left out in the last round"
    )
    ctx.metric("resolution_best_class_A", float(best), "Å")
    ctx.metric("posterior_lost_max_frac", float(state.lost.max(initial=0.0)), "")
