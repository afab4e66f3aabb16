"""Particles of good classes, by a stated rule; each class's evidence is told. Classes are made elsewhere.

The rule was set on 1 157 real picks of beta-galactosidase of which people kept 593 (EMPIAR-10204): a class's mean
log-evidence against noise ranks classes as those people did. Its thresholds were set by that and by particles projected
among noise, ice and edges (tests/campaigns/select_roc.py): a fraction of 0.4 keeps 96 % of the particles and 4 to 7 %
of each kind of junk; 0.5 keeps 83 % and no less ice. Images of nothing but noise reach 2.4 in averages of few, of
which each is a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe import Classes2D, ParticleTable, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics.bounds import check_bounds, check_order

Array = npt.NDArray[Any]

DEVICES = ("cpu",)


@dataclass(frozen=True)
class Params:
    """Which classes are good."""

    min_score_frac: float = 0.4  # least score of a class, of the score that a tenth of the particles' classes exceed
    min_score: float = 3.0  # [nats] least score whatever the others have: 3 is 20 to 1 for the average against nothing
    max_resolution_ratio: float = 2.0  # a class resolves at worst so many times the spacing of the best scored class
    min_class_size: int = 5  # classes of fewer particles are no evidence
    few_survivors_frac: float = 0.3  # fewer survivors than this raise the alarm
    many_survivors_frac: float = 0.7  # more survivors than this raise the alarm

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            min_score_frac=(0.0, 1.0),
            min_score=(-1e6, 1e6),
            max_resolution_ratio=(1.0, 100.0),
            min_class_size=(1, 10**6),
            few_survivors_frac=(0.0, 1.0),
            many_survivors_frac=(0.0, 1.0),
        )
        check_order(self, "few_survivors_frac", "many_survivors_frac")


@hookimpl
def select_particles(classes: Classes2D, params: Params, ctx: StageContext) -> ParticleTable:
    """Keep the particles of classes that explain their images, relative to the best classes of the same set.

    References
    ----------
    Definition: a class is kept where its score is at least `min_score_frac` of the score that the classes of a tenth
    of the particles exceed and at least `min_score`, its resolution at worst `max_resolution_ratio` times that of the
    best scored class, and it has `min_class_size` particles. Scores are those of `classify_2d em`, mean log-evidences
    of a class's images for its average against an image of nothing; those of other classifications are ranked alike.
    """
    _check(classes)
    table, particles = classes.classes, classes.particles
    score, resolution_A = table.floats("class_score"), table.floats("resolution_A")
    ids, count = table.column("class_id"), _counts(classes)
    if not len(particles):
        return particles
    least = max(params.min_score_frac * _upper_score(score, count), params.min_score)
    telling = (count >= params.min_class_size) & np.isfinite(score) & np.isfinite(resolution_A)
    best = int(np.argmax(np.where(telling, score, -np.inf)))
    worst_A = params.max_resolution_ratio * float(resolution_A[best])
    reasons = [
        _reason(float(score[row]), float(resolution_A[row]), int(count[row]), (least, worst_A, params.min_class_size))
        for row in range(len(ids))
    ]
    labels, owner = np.asarray(particles.column("class_id")), np.asarray(particles.column("particle_id"))
    kept = np.isin(labels, ids[[not reason for reason in reasons]])
    for row, reason in enumerate(reasons):
        verdict = f"dropped: {reason}" if reason else "kept"
        ctx.log(
            f"class {ids[row]}: {count[row]} particles, score {score[row]:.2f} (least {least:.2f}), "
            f"{resolution_A[row]:.1f} Å (worst {worst_A:.1f} Å): {verdict}"
        )
        gone = owner[labels == ids[row]].tolist()
        if reason and gone:
            ctx.drop(gone, f"class {ids[row]}: {reason}", values=[float(score[row])] * len(gone), threshold=least)
    _alarm(float(kept.mean()), params, ctx)
    return particles.select(np.flatnonzero(kept))


def _check(classes: Classes2D) -> None:
    if not np.isfinite(np.asarray(classes.averages)).all():
        raise InvalidInput(
            "class averages hold values that are not finite numbers",
            expected="finite averages",
            remedy="Run classify_2d again and read its log.",
        )
    if len(classes.particles) and not classes.particles.has("class"):
        raise InvalidInput(
            "the particles have no class", expected="column class_id", remedy="Run classify_2d before select_particles."
        )
    unknown = set(np.unique(classes.particles.column("class_id")).tolist() if len(classes.particles) else ())
    unknown -= set(classes.classes.column("class_id").tolist())
    if unknown:
        raise InvalidInput(
            f"particles belong to classes {sorted(unknown)} that are not in the table", expected="classes of the table"
        )


def _counts(classes: Classes2D) -> Array:
    labels = np.asarray(classes.particles.column("class_id")) if len(classes.particles) else np.zeros(0, int)
    return np.array([(labels == k).sum() for k in classes.classes.column("class_id")], dtype=np.int64)


def _upper_score(score: Array, count: Array) -> float:
    """Score that the classes of a tenth of the particles reach or exceed; one that is no number is the least."""
    score = np.where(np.isfinite(score), score, -np.inf)
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(count[order]) / count.sum()
    return float(score[order][int(np.searchsorted(share, 0.1))])


def _reason(score: float, resolution_A: float, count: int, limits: tuple[float, float, int]) -> str:
    """Why a class is not kept; empty where it is."""
    least, worst_A, fewest = limits
    if count < fewest:
        return f"fewer than {fewest} particles"
    if not score >= least:
        return f"score {score:.2f} below {least:.2f}"
    return f"resolution {resolution_A:.1f} Å worse than {worst_A:.1f} Å" if not resolution_A <= worst_A else ""


def _alarm(kept_frac: float, params: Params, ctx: StageContext) -> None:
    ctx.metric("survivors_frac", kept_frac, "")
    low, high = params.few_survivors_frac, params.many_survivors_frac
    if not low <= kept_frac <= high:
        what = "few" if kept_frac < low else "many"
        ctx.metric("survivors_alarm", 1.0, "")
        ctx.log(
            f"ALARM: {100 * kept_frac:.0f} % of the particles survive, {what} beside the usual {100 * low:.0f} to "
            f"{100 * high:.0f} %: look at the class averages and at the picking before going on"
        )
