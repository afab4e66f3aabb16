"""Two-dimensional classification of a set that grows: goes on from the classes of the smaller set. Rounds are `em`'s.

A set that nothing was carried from is classified as `em` does it, to the last bit. Where a smaller set was, the new
images find their places in its classes, then a few rounds over all images let the classes follow. Classes begun on few
images never become those that many would have given, however many rounds follow: they are begun anew whenever the set
has grown by a factor, which for any number of portions costs a small number of classifications of the whole set.

What a growing set gives depends on its portions and their order, which is declared (`CARRIES_ON`): the runner has the
classes of the whole set made from nothing at the end of a session. How far they are from those before: 2 000 particles
of 20 views in ten portions had a purity of 0.875 ± 0.023, at once 0.906 ± 0.016 (paired difference -0.032 ± 0.017 in
five seeds and orders, tests/campaigns/streaming_classes.py), for 49 CPU-s, where `em` takes 22 at once and 5.5 times
that if it is run after each portion.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ParticleStack, StageContext, hookimpl
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.polar_images import PolarImages
from cryoframe_classify import carried, plugin
from cryoframe_classify.carried import Carried
from cryoframe_classify.expectation import State, expect_and_maximise

Array = npt.NDArray[Any]

DEVICES = ("cpu",)
#: While a set grows, its products depend on how it grew.
CARRIES_ON = True
_STATE_VERSION = "1"
#: Rounds that look for new images all over, before all images go on together.
_SEARCHES = (1, 4)


@dataclass(frozen=True)
class Params(plugin.Params):
    """Those of `em`, and how much is done again when the set grows."""

    n_refresh_rounds: int = 2  # rounds over all images when new ones have found their places
    restart_growth: float = 1.5  # classes of a set that has grown by this factor since are begun anew

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_bounds(self, n_refresh_rounds=(1, 1000), restart_growth=(1.0, 1e6))


@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    """Average like views without a reference, going on from the classes of the smaller set where there are some.

    References
    ----------
    The rounds: Scheres, J. Struct. Biol. 180, 519 (2012), doi:10.1016/j.jsb.2012.09.006; EM that goes on from what was
    seen before: Neal & Hinton, in Learning in Graphical Models, 355 (1998), doi:10.1007/978-94-011-5014-9_12.
    """
    begun = time.process_time()
    stack.require("classify", fewest=plugin.FEWEST, ctf=not params.ignore_ctf)
    rows = np.argsort(np.asarray(stack.particles.column("particle_id")), kind="stable")
    rows, images = plugin.open_images(stack, rows, params, ctx)
    ids = np.asarray(stack.particles.column("particle_id"))[rows]
    key = _key(params, ctx)
    kept = carried.load(ctx.checkpoint_dir, key) if ctx.checkpoint_dir else None
    now = _next(images, ids, kept, params, ctx)
    if ctx.checkpoint_dir and now is not kept:
        carried.save(ctx.checkpoint_dir, key, now)
    return plugin.told(stack, rows, images, now.state, params=params, ctx=ctx, begun=begun)


def _key(params: Params, ctx: StageContext) -> str:
    """Of all that a state depends on beside its images, whose digests it holds itself."""
    text = repr((_STATE_VERSION, params, ctx.seed, ctx.stage_id, ctx.item_id))
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def _next(images: PolarImages, ids: Array, kept: Carried | None, params: Params, ctx: StageContext) -> Carried:
    """What is to be carried on from this set; `kept` itself where it is of this set already."""
    prints = carried.prints_of(images)
    if kept is None or len(ids) >= params.restart_growth * kept.n_begun:
        return _begun(images, ids, prints, params, ctx)
    old = kept.matching(ids, prints)
    n_new = int((old < 0).sum())
    if not n_new and len(ids) == len(kept.particle_id):
        return kept
    if n_new == len(ids):
        return _begun(images, ids, prints, params, ctx)
    ctx.log(f"{n_new} of {len(ids)} images are new to the {len(kept.state.averages)} classes")
    state = _laid(images, kept.state_of(old), np.flatnonzero(old < 0), params, ctx)
    n_rounds = min(params.n_refresh_rounds, params.n_iterations)
    for number in range(params.n_iterations - n_rounds, params.n_iterations):
        state = plugin.one_round(images, state, number, params, ctx=ctx)
    n_seen = np.where(old >= 0, kept.n_seen[old], len(_SEARCHES)) + n_rounds
    return Carried(state, ids, prints, n_seen, kept.n_begun)


def _begun(images: PolarImages, ids: Array, prints: Array, params: Params, ctx: StageContext) -> Carried:
    state = plugin.from_nothing(images, params, ctx)
    return Carried(state, ids, prints, np.full(len(ids), params.n_iterations), len(ids))


def _laid(images: PolarImages, state: State, new: Array, params: Params, ctx: StageContext) -> State:
    """State in which the new images have a place too: found all over, while the classes stay as they are."""
    for number in _SEARCHES if len(new) else ():
        found = expect_and_maximise(
            images,
            state,
            plugin.sampling_of(min(number, params.n_iterations - 1), images, params),
            balance=params.balance_frac,
            largest_shift_px=plugin.range_px(images, params),
            on_batch=partial(_lay, ctx, len(new)),
            rows=new,
        )
        state = replace(state, centres_px=found.centres_px)
    return state


def _lay(ctx: StageContext, total: int, n_done: int) -> None:
    ctx.report(0, total, f"{n_done} of {total} new images")
