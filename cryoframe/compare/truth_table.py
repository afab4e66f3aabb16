"""A pipeline against the truth in one table: each stage's numbers, what became of movies, which faults were noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.compare.truth import Truth
from cryoframe.compare.truth_answers import Answer, Answers, Fate, said_of
from cryoframe.compare.truth_scores import (
    QUANTITIES,
    RADII,
    PickCounts,
    ctf_scores,
    motion_scores,
    pick_counts,
    pose_scores,
)
from cryoframe.data.images import CtfFit
from cryoframe.data.tables import MotionTable, ParticleTable

#: An exposure shows a fault where a number lies so many deviations from those without faults (robust, from the MAD).
SHOWS = 5.0
MIN_HEALTHY = 4
#: The row of exposures without a fault.
NO_FAULT = "none"


@dataclass(frozen=True)
class Row:
    """One line of the table: the median over `n` exposures and the worst of them, or a number of all together."""

    stage: str
    quantity: str
    unit: str
    n: int
    value: float
    worst: float | None = None


@dataclass(frozen=True)
class FaultRow:
    """Of the exposures with one fault: how many were refused, how many show it in a number anybody sees, and where."""

    fault: str
    n: int
    n_refused: int
    n_show: int
    n_unseen: int
    where: str = ""


@dataclass(frozen=True)
class Scores:
    """The whole comparison."""

    rows: tuple[Row, ...]
    faults: tuple[FaultRow, ...]
    fates: Mapping[str, int]
    #: Exposures that were not processed to the end, with the reason.
    lost: Mapping[str, str] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
    #: (stage, quantity) → exposure → value.
    by_exposure: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict, repr=False)

    def facts(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "faults": [asdict(row) for row in self.faults],
            "movies": dict(self.fates),
            "lost": dict(self.lost),
            "strangers": list(self.strangers),
        }


def score(answers: Answers, truth: Truth) -> Scores:
    """Compare everything a pipeline said with the truth.

    Parameters
    ----------
    answers
        From :func:`cryoframe.compare.truth_answers.gathered`.
    truth
        Of the session.
    """
    stages = list(dict.fromkeys(answer.stage for answer in sorted(answers.answers, key=_place)))
    rows: list[Row] = []
    by_exposure: dict[tuple[str, str], dict[str, float]] = {}
    for stage in stages:
        own = [answer for answer in answers.answers if answer.stage == stage]
        for name, values in measured(own, truth).items():
            by_exposure[stage, name] = values
            rows.append(_row(stage, name, values))
        rows += _pick_rows(stage, own, truth)
    states = Counter(fate.state for fate in answers.fates.values())
    lost = {name: f"{fate.state}: {fate.reason}" for name, fate in answers.fates.items() if fate.state != "done"}
    noticed = tuple(_fault_rows(answers, truth))
    return Scores(tuple(rows), noticed, dict(states), lost, answers.strangers, by_exposure)


def _place(answer: Answer) -> int:
    """Order stages as the beam does: motion, CTF, places, poses."""
    if isinstance(answer.said, ParticleTable):
        return 3 if answer.said.has("pose") else 2
    return 0 if isinstance(answer.said, MotionTable) else 1


def product_errors(product: object, name: str, truth: Truth) -> dict[str, float]:
    """Return every error of one product, picks scored within each radius; of many exposures, the medians over them.

    Parameters
    ----------
    product
        Of a stage.
    name
        Of its item.
    truth
        Of the session.
    """
    found: dict[str, list[float]] = {}
    for answer in said_of(product, "", truth, name=name):
        values = error_of(answer, truth)
        if isinstance(answer.said, ParticleTable):
            for share in RADII:
                scores = pick_totals([answer], truth, share)[0].scores()
                values |= {f"{key} within {share:g} diameter": value for key, value in scores.items()}
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    return {key: float(np.nanmedian(values)) for key, values in found.items() if np.isfinite(values).any()}


def measured(answers: Sequence[Answer], truth: Truth) -> dict[str, dict[str, float]]:
    """Return quantity → exposure → value, of one stage's answers."""
    found: dict[str, dict[str, float]] = {}
    for answer in answers:
        for name, value in error_of(answer, truth).items():
            found.setdefault(name, {})[answer.exposure_id] = value
    return found


def error_of(answer: Answer, truth: Truth) -> dict[str, float]:
    """Return the errors of one answer; of particles, the medians over those of the exposure."""
    true = truth.exposure(answer.exposure_id)
    if isinstance(answer.said, MotionTable):
        return motion_scores(answer.said, true)
    if isinstance(answer.said, CtfFit):
        return ctf_scores(answer.said, true)
    scores = pose_scores(answer.said, true, radius_A=RADII[0] * truth.diameter_A, point_group=truth.point_group)
    return {name: float(np.median(values)) for name, values in scores.items()}


def pick_totals(answers: Sequence[Answer], truth: Truth, share: float) -> tuple[PickCounts, dict[str, PickCounts]]:
    """Count matches within a share of the diameter, of all exposures and of each."""
    diameter_A = truth.diameter_A
    each = {
        answer.exposure_id: pick_counts(
            answer.said, truth.exposure(answer.exposure_id), radius_A=share * diameter_A, edge_A=0.5 * diameter_A
        )
        for answer in answers
        if isinstance(answer.said, ParticleTable)
    }
    return PickCounts.total(list(each.values())), each


def _row(stage: str, name: str, values: Mapping[str, float]) -> Row:
    data = np.array([value for value in values.values() if np.isfinite(value)])
    middle, worst = (float(np.median(data)), float(data.max())) if len(data) else (float("nan"), None)
    return Row(stage, name, QUANTITIES[name].unit, len(data), middle, worst)


def _pick_rows(stage: str, answers: Sequence[Answer], truth: Truth) -> Iterator[Row]:
    tables = [answer for answer in answers if isinstance(answer.said, ParticleTable)]
    if not tables:
        return
    for share in RADII:
        total, each = pick_totals(tables, truth, share)
        for name, value in total.scores().items():
            single = [counts.scores()[name] for counts in each.values()]
            finite = [one for one in single if np.isfinite(one)]
            yield Row(stage, f"{name} within {share:g} diameter", "", len(each), value, min(finite, default=None))
        if share == RADII[0]:
            for kind, count in total.by_class.items():
                of = total.n_true if kind == "particle" else total.n_found
                yield Row(stage, f"picks on {kind}", f"of {of}", len(each), float(count))


# -- faults -----------------------------------------------------------------------------------------------------------
def _fault_rows(answers: Answers, truth: Truth) -> Iterator[FaultRow]:
    ill = truth.faults()
    shows = _showing(answers.answers, healthy=set(truth) - set(ill))
    names = dict.fromkeys(name for faults in ill.values() for name in faults)
    having_of = {fault: [name for name, faults in ill.items() if fault in faults] for fault in names}
    if ill:  # how often the same rule cries wolf
        having_of[NO_FAULT] = [name for name in truth if name not in ill]
    for fault, having in having_of.items():
        refused = [name for name in having if answers.fates.get(name, Fate("")).state in ("rejected", "given_up")]
        showing = [name for name in having if name not in refused and shows.get(name)]
        where = Counter(place for name in showing for place in shows[name])
        words = [f"{place} ({count})" for place, count in where.most_common(3)]
        if refused:
            words.insert(0, f"refused ({len(refused)})")
        unseen = len(having) - len(refused) - len(showing)
        yield FaultRow(fault, len(having), len(refused), len(showing), unseen, ", ".join(words))


def _showing(answers: Sequence[Answer], *, healthy: set[str]) -> dict[str, list[str]]:
    """Return, for each exposure, the numbers that lie far from those of the other exposures without faults."""
    columns: dict[str, dict[str, float]] = {}
    for answer in answers:
        for name, value in answer.seen.items():
            columns.setdefault(f"{answer.stage} {name}", {})[answer.exposure_id] = value
    found: dict[str, list[str]] = {}
    for place, values in columns.items():
        for name, value in values.items():
            usual = np.array([v for other, v in values.items() if other in healthy and other != name])
            usual = usual[np.isfinite(usual)]
            if np.isfinite(value) and len(usual) >= MIN_HEALTHY and _is_far(value, usual):
                found.setdefault(name, []).append(place)
    return found


def _is_far(value: float, usual: NDArray[np.float64]) -> bool:
    """Whether a value lies far from the usual ones: by robust deviations, and beyond their range by half its width.

    The second keeps few or skewed values from calling every other one far.
    """
    middle, low, high = float(np.median(usual)), float(usual.min()), float(usual.max())
    spread = 1.4826 * float(np.median(np.abs(usual - middle)))
    if abs(value - middle) <= SHOWS * max(spread, 0.02 * abs(middle), 1e-9):
        return False
    return not low - 0.5 * (high - low) <= value <= high + 0.5 * (high - low)
