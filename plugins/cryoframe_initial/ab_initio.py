"""A starting map from the particles alone, by stochastic expectation-maximisation. No numerics of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import ParticleStack, StageContext, Volume, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import ab_initio, fourier
from cryoframe.numerics.bounds import check_bounds, check_extent, check_order
from cryoframe.numerics.polar_images import PolarImages
from cryoframe.numerics.symmetry import canonical_group, rotation_matrices
from cryoframe.numerics.symmetry_axes import Axes
from cryoframe_initial import particles

Array = npt.NDArray[Any]

DEVICES = ("cpu",)
#: A rotation of the group that relates a map to itself by less is doubted.
_LEAST_CORRELATION = 0.35
#: Axes are doubted where agreement with the map's copies goes less than this share of the way from that of axes laid
#: anywhere to identity: a hollow shell agrees with itself however it is turned.
_LEAST_MARGIN = 0.45


@dataclass(frozen=True)
class Params:
    """How the map is searched for."""

    symmetry: str = "C1"  # point group the map is to have
    particle_diameter_A: float = 0.0  # at half height of the soft masks around images and map; 0 = 85 % of the box
    offset_range_A: float = 0.0  # how far from the box centre a particle may lie; 0 = 10 % of the box
    start_resolution_A: float = 25.0  # finest spacing of the first steps; coarser ones see a blob and nothing else
    finest_resolution_A: float = 18.0  # finest spacing of the last steps
    n_steps: int = 40  # stochastic steps of the start that is followed to the end
    n_starts: int = 3  # random starts; the one that explains the images best goes on
    trial_frac: float = 0.4  # share of the steps after which only the best of the starts goes on
    n_images_first: int = 100  # images of the first step
    n_images_last: int = 250  # images of the last step
    n_images_most: int = 20000  # images used at all, drawn at random
    n_models: int = 1  # maps searched for side by side; what is no particle may go to the others
    find_axes: bool = (
        True  # search without symmetry, find its axes in that map, finish with it; else with it throughout
    )
    axes_frac: float = 0.7  # share of the steps before the axes are looked for
    ignore_ctf: bool = False  # take images as free of CTF effects

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            particle_diameter_A=(0.0, 20000.0),
            offset_range_A=(0.0, 20000.0),
            start_resolution_A=(1.0, 1000.0),
            finest_resolution_A=(1.0, 1000.0),
            n_steps=(2, 10000),
            n_starts=(1, 100),
            trial_frac=(0.05, 1.0),
            n_images_first=(10, 100000),
            n_images_last=(10, 100000),
            n_images_most=(10, 10**7),
            n_models=(1, 20),
            axes_frac=(0.05, 0.95),
        )
        check_order(self, "finest_resolution_A", "start_resolution_A")
        rotation_matrices(self.symmetry)


@dataclass(frozen=True)
class _Plan:
    """What the steps need besides the images."""

    params: Params
    r_first: float
    r_last: float
    range_px: float
    evidence_frac: float
    box_px: int

    @property
    def group(self) -> str:
        """Point group, as it is written."""
        return canonical_group(self.params.symmetry)

    @property
    def n_free(self) -> int:
        """Steps without symmetry."""
        if not self.params.find_axes or self.group == "C1":
            return 0
        return min(max(round(self.params.axes_frac * self.params.n_steps), self.n_trial), self.params.n_steps - 1)

    @property
    def n_trial(self) -> int:
        """Steps of every start."""
        return max(1, int(self.params.trial_frac * self.params.n_steps)) if self.params.n_starts > 1 else 0

    def symmetry(self, number: int) -> str:
        """Point group of a step."""
        return "C1" if number < self.n_free else self.group

    def step(self, number: int, n_all: int) -> ab_initio.Step:
        """Fineness and number of images of a step: coarse for a third of the steps, then ever finer."""
        done = number / self.params.n_steps
        rise = float(np.clip((done - 0.3) / 0.6, 0.0, 1.0))
        r_max = self.r_first + rise * (self.r_last - self.r_first)
        spacing_px = self.box_px / r_max
        first, last = self.params.n_images_first, self.params.n_images_last
        return ab_initio.Step(
            r_max=r_max,
            step_deg=15.0 if done < 0.6 else 10.0,
            shift_range_px=self.range_px if done < 0.5 else min(self.range_px, 0.5 * spacing_px),
            shift_step_px=0.25 * spacing_px,
            n_images=min(n_all, round(first * (last / first) ** done)),
            rate=0.5 * 0.6**done,
        )


@hookimpl
def make_initial_volume(stack: ParticleStack, params: Params, ctx: StageContext) -> Volume:
    """Find a map from nothing: random starts, of which the one that explains the images best is followed to the end.

    Which hand the map has cannot be told from projections: the mirrored map explains the images as well.

    References
    ----------
    Punjani, Rubinstein, Fleet & Brubaker, Nat. Methods 14, 290 (2017), doi:10.1038/nmeth.4169; online EM: Cappé &
    Moulines, J. R. Stat. Soc. B 71, 593 (2009), doi:10.1111/j.1467-9868.2009.00698.x.
    """
    begun = time.process_time()
    stack.require("make a map of", fewest=particles.FEWEST, ctf=not params.ignore_ctf)
    rng = ctx.rng
    n, pixel = int(stack.images.shape[-1]), stack.pixel_size_A
    check_extent(n * pixel, particle_diameter_A=params.particle_diameter_A, offset_range_A=params.offset_range_A)
    diameter_A = params.particle_diameter_A or 0.85 * n * pixel
    r_last = min(n * pixel / params.finest_resolution_A, 0.48 * n - 2)
    images = particles.take(
        stack,
        ctx,
        r_max=r_last,
        diameter_A=diameter_A,
        ignore_ctf=params.ignore_ctf,
        n_most=params.n_images_most,
        rng=rng,
    )
    plan = _plan(images, params, r_last)
    model = _search(images, plan, rng, ctx)
    kept = _best_map(model, ctx)
    if not np.isfinite(kept.volume).all() or not kept.volume.any():
        raise InvalidInput("the images hold no signal that a map could be made of", expected="images of particles")
    volume = fourier.fourier_pad(kept.volume, (n, n, n), origin="centre")
    _tell(kept, plan, images, ctx)
    ctx.metric("cpu_s", time.process_time() - begun, "s")
    return Volume(
        np.asarray(volume, dtype=np.float32),
        pixel,
        plan.group,
        f"from the particles alone (ab_initio, {plan.group}); hand undetermined",
    )


def _plan(images: PolarImages, params: Params, r_last: float) -> _Plan:
    length_A = images.box_px * images.pixel_size_A
    r_first = min(max(3.0, length_A / params.start_resolution_A), r_last)
    return _Plan(
        params,
        r_first,
        r_last,
        params.offset_range_A / images.pixel_size_A or 0.1 * images.box_px,
        float((images.mask**2).mean()),
        images.box_px,
    )


def _search(images: PolarImages, plan: _Plan, rng: np.random.Generator, ctx: StageContext) -> ab_initio.Model:
    """Follow the start that explains the images best to the end; of a symmetric particle, one whose map shows it."""
    params = plan.params
    total = params.n_starts * plan.n_trial + params.n_steps - plan.n_trial
    starts = _starts(images, plan, rng, ctx, total)
    model, first = starts[0], plan.n_trial
    if plan.n_free:
        model, first = _with_axes(images, starts, plan, rng, ctx=ctx, total=total), plan.n_free
    for number in range(first, params.n_steps):
        ctx.report(total - params.n_steps + number, total, f"{_spacing_A(images, plan, number):.0f} Å")
        model = _advance(images, model, plan, number, rng)
    ctx.report(total, total, "")
    return model


def _starts(
    images: PolarImages, plan: _Plan, rng: np.random.Generator, ctx: StageContext, total: int
) -> list[ab_initio.Model]:
    """Random starts after their trial, the one that explains the images best first."""
    params, m = plan.params, len(images.images)
    judged_by = np.sort(rng.choice(m, min(m, 200), replace=False))
    models, told = [], []
    for start in range(params.n_starts):
        model = ab_initio.start(
            images,
            r_max=plan.r_first,
            symmetry=plan.symmetry(0),
            n_images=params.n_images_first,
            n_maps=params.n_models,
            rng=rng,
        )
        for number in range(plan.n_trial):
            said = f"start {start + 1} of {params.n_starts}, {_spacing_A(images, plan, number):.0f} Å"
            ctx.report(start * plan.n_trial + number, total, said)
            model = _advance(images, model, plan, number, rng)
        told.append(_judge(images, model, plan, judged_by) if plan.n_trial else 0.0)
        models.append(model)
    if plan.n_trial:
        ctx.log("log-evidence an image of the starts: " + ", ".join(f"{value:.2f}" for value in told))
    return [models[place] for place in np.argsort(-np.array(told), kind="stable")]


def _with_axes(
    images: PolarImages,
    starts: list[ab_initio.Model],
    plan: _Plan,
    rng: np.random.Generator,
    *,
    ctx: StageContext,
    total: int,
) -> ab_initio.Model:
    """Go on without symmetry until a start's map shows the group's axes, and lay it on them; else the nearest to it.

    A map that came out wrong has no symmetry: that one has it, though nothing asked for it, is evidence that it is
    right.
    """
    group, kept, best = plan.group, starts[0], None
    for rank, model in enumerate(starts):
        for number in range(plan.n_trial, plan.n_free):
            done = total - plan.params.n_steps + (number if not rank else plan.n_free)
            ctx.report(done, total, f"{_spacing_A(images, plan, number):.0f} Å")
            model = _advance(images, model, plan, number, rng)
        laid, found = ab_initio.laid_on_axes(images, model, group, r_max=plan.r_first)
        axes = max(found, key=lambda axes: axes.correlation)
        ctx.log(
            f"the map found without symmetry agrees with its {group} copies to {axes.correlation:.2f} (axes laid "
            f"anywhere: {axes.elsewhere:.2f} ± {axes.spread:.2f})"
        )
        if best is None or axes.correlation > best.correlation:
            kept, best = laid, axes
        if best.least >= _LEAST_CORRELATION and _margin(best) >= _LEAST_MARGIN:
            break
    assert best is not None
    if best.least < _LEAST_CORRELATION:
        ctx.log(
            f"warning: one of the rotations of {group} relates it to itself by {best.least:.2f} only; the particles "
            "may not have that symmetry"
        )
    if _margin(best) < _LEAST_MARGIN:
        ctx.log(
            f"warning: the axes of {group} explain little more of the map than axes laid anywhere "
            f"({best.correlation:.2f} against {best.elsewhere:.2f}): they may be wrong; try another seed and compare"
        )
    ctx.metric("symmetry_correlation_frac", best.correlation, "")
    return kept


def _margin(axes: Axes) -> float:
    """How far agreement with the group's copies goes from that of axes laid anywhere to that of identity."""
    return (axes.correlation - axes.elsewhere) / max(1.0 - axes.elsewhere, 1e-6)


def _advance(
    images: PolarImages, model: ab_initio.Model, plan: _Plan, number: int, rng: np.random.Generator
) -> ab_initio.Model:
    step = plan.step(number, len(images.images))
    if plan.n_free and number == plan.n_free:
        # The running sums are of the frame before.
        step = replace(step, rate=1.0, shift_range_px=plan.range_px)
    rows = np.sort(rng.choice(len(images.images), step.n_images, replace=False))
    return ab_initio.advance(
        images, model, step, rows, symmetry=plan.symmetry(number), evidence_frac=plan.evidence_frac
    )


def _judge(images: PolarImages, model: ab_initio.Model, plan: _Plan, rows: Array) -> float:
    """Mean log-evidence of the same images for every start; the model is not changed."""
    step = plan.step(min(plan.n_trial, plan.params.n_steps - 1), len(images.images))
    symmetry = plan.symmetry(plan.n_trial - 1)
    tried = ab_initio.advance(images, model, step, rows, symmetry=symmetry, evidence_frac=plan.evidence_frac)
    return tried.evidence


def _spacing_A(images: PolarImages, plan: _Plan, number: int) -> float:
    return images.box_px * images.pixel_size_A / plan.step(number, len(images.images)).r_max


def _best_map(model: ab_initio.Model, ctx: StageContext) -> ab_initio.Candidate:
    """The map that says most: shells weighed by their size and by what their halves have in common."""
    said = [float((np.arange(len(one.ssnr)) ** 2 * np.log1p(one.ssnr)).sum()) for one in model.maps]
    best = int(np.argmax(said))
    if len(said) > 1:
        shares = ", ".join(f"{share:.0%}" for share in model.share_frac)
        ctx.log(f"shares of the images of {len(said)} maps: {shares}; number {best + 1} holds most detail and is kept")
        ctx.metric("model_share_frac", float(model.share_frac[best]), "")
    return model.maps[best]


def _tell(kept: ab_initio.Candidate, plan: _Plan, images: PolarImages, ctx: StageContext) -> None:
    below = np.flatnonzero(kept.ssnr[1 : int(plan.r_last) + 1] < 1.0)
    ring = int(below[0]) if len(below) else int(plan.r_last)
    resolution_A = images.box_px * images.pixel_size_A / max(ring, 1)
    ctx.metric("resolution_A", resolution_A, "Å")
    ctx.log(
        f"the map's halves agree to {resolution_A:.0f} Å (they share poses: this is no gold standard); its hand is "
        "undetermined: mirror it if helices turn left or a model fits better"
    )
