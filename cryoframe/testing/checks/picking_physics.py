"""Physics checks of pickers: each particle once, dark ones only, scores with an order, places that move with the image.

Recall, false picks and noise are in ``truth``; axes and the origin of positions in ``orientation``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from cryoframe.testing import experiments, phantoms, testcard
from cryoframe.testing.checks.promise import Check, NotAsked, fail
from cryoframe.testing.phantoms import PIXEL_A, Reals
from cryoframe.testing.sessions import Session

HOOK: Final = ("pick_particles",)
#: Two picks nearer than this are of one particle: half of the molecule's diameter [Å].
TWICE_A: Final = 45.0
#: A pick that moves with the image by less than this is the same, and how many have to be [Å, share].
SAME_A, SAME_FRAC = 4.0, 0.85
#: Rank correlation of scores with how dark the particles are.
ORDER: Final = 0.6


def picked_once(session: Session) -> None:
    """No particle is picked twice."""
    for variant in ("nominal", "card"):
        places = _places(session, variant)
        near = _nearest_A(places)
        if (near < TWICE_A).any():
            fail(
                f"{int((near < TWICE_A).sum())} of {len(places)} picks have another within {TWICE_A:g} Å",
                expected="one pick for each particle, none of which overlap",
                remedy="Keep the best pick within the particle's diameter.",
            )


def distance_kept(session: Session) -> None:
    """Picks are no nearer to each other than it was asked for."""
    params = session.plugin.params_class
    if "min_distance_A" not in getattr(params, "__dataclass_fields__", ()):
        raise NotAsked("it has no parameter min_distance_A")
    near = _nearest_A(_places(session, "apart"))
    if not len(near):
        fail("with min_distance_A set it picks nothing", expected="the best of each neighbourhood")
    if near.min() < experiments.APART_A * (1.0 - 1e-4):
        fail(f"two picks are {near.min():.0f} Å apart", expected=f"min_distance_A = {experiments.APART_A:g} or more")


def dark_only(session: Session) -> None:
    """Particles are dark in a micrograph; bright ones of the same shape are none."""
    truth = _truth(session, "bright")
    taken = int(testcard.matched(truth, _places(session, "bright"), phantoms.BOX_PX * PIXEL_A / 8).sum())
    if taken > 0.25 * len(truth):
        fail(
            f"{taken} of {len(truth)} bright discs are taken for particles",
            expected=f"at most {0.25 * len(truth):.0f}: protein is dark as recorded",
        )


def scores_ordered(session: Session) -> None:
    """The better a particle is seen, the higher its figure of merit."""
    truth, table = _truth(session, "graded"), _table(session, "graded")
    places, score = _xy(table), table.floats("figure_of_merit")
    distance = np.linalg.norm(truth[:, None] - places[None], axis=-1)
    found = np.flatnonzero(distance.min(axis=1) < 5.0 * PIXEL_A) if len(places) else np.zeros(0, dtype=np.int64)
    if len(found) < 8:
        raise NotAsked(f"it finds {len(found)} of {len(truth)} discs; orientation and known_answer say why")
    # The truth is in the order of depth.
    order = _rank_correlation(found.astype(np.float64), score[distance[found].argmin(axis=1)])
    if order < ORDER:
        fail(
            f"figures of merit follow how dark particles are by a rank correlation of {order:.2f}",
            expected=f"at least {ORDER:g}: a threshold on them keeps the better ones",
        )


def moves_with_the_image(session: Session) -> None:
    """Cut away some rows and columns, and picks are where they were, less what was cut."""
    whole, cropped = _places(session, "card"), _places(session, "cropped")
    cut_A = PIXEL_A * np.array(experiments.CROP_PX[::-1], dtype=np.float64)
    extent_A = PIXEL_A * np.array(phantoms.FIELD_PX[::-1], dtype=np.float64)
    margin_A = phantoms.BOX_PX * PIXEL_A / 2
    moved = whole - cut_A
    inner = moved[np.all((moved > margin_A) & (moved < extent_A - cut_A - margin_A), axis=1)]
    if not len(inner):
        raise NotAsked("it picks nothing far from the edges")
    same = float(testcard.matched(inner, cropped, SAME_A).mean())
    if same < SAME_FRAC:
        fail(
            f"{100 * same:.0f} % of the picks are where they were when {experiments.CROP_PX} rows and columns are cut",
            expected=f"{100 * SAME_FRAC:g} % within {SAME_A:g} Å: a particle is where it is, not on a grid",
        )


def _table(session: Session, variant: str) -> Any:
    return session.remember(f"picks of {variant}", lambda: session.house_result(variant))


def _places(session: Session, variant: str) -> Reals:
    return _xy(_table(session, variant))


def _xy(table: Any) -> Reals:
    places: Reals = np.stack([table.floats("x_A"), table.floats("y_A")], axis=-1).astype(np.float64)
    return places


def _truth(session: Session, variant: str) -> Reals:
    case = session.case(variant)
    assert case is not None
    centres: Reals = case.truth.centres_A
    return centres


def _nearest_A(places: Reals) -> Reals:
    """Distance of each place to the nearest other, infinite where it is alone."""
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest: Reals = distance.min(axis=1, initial=np.inf)
    return nearest


def _rank_correlation(a: Reals, b: Reals) -> float:
    """Spearman's: correlation of the ranks."""
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b)]
    return testcard.correlation(*ranks)


CHECKS = (
    Check(picked_once, hooks=HOOK, variant="card"),
    Check(distance_kept, hooks=HOOK, variant="apart"),
    Check(dark_only, hooks=HOOK, variant="bright"),
    Check(scores_ordered, hooks=HOOK, variant="graded"),
    Check(moves_with_the_image, hooks=HOOK, variant="cropped"),
)
