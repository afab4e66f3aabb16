"""Each kind of alarm is raised within two minutes of its limit, once, however far apart the looks are that find it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from cryoframe.kernel.config import WatchConfig
from cryoframe.view.wall import ALARMS
from cryoframe.watch.alarms import Board, Situation

#: As they are where a configuration says nothing, but for silence, which is off.
LIMITS = replace(WatchConfig(), silence_s=1200.0)
PROMISED_S, BEGINS_S, LASTS_S = 120.0, 3600.0, 7200.0
#: Kind → the situation so many seconds after it has begun, and how long it may last before it is to be said [s].
Course = Callable[[float], Situation]
COURSES: dict[str, tuple[Course, float]] = {
    "stall": (lambda _: Situation(n_progress=7, n_files=9, at_work=True), LIMITS.stall_s),
    "silence": (lambda _: Situation(n_progress=7, n_files=9), LIMITS.silence_s),
    "share": (lambda age_s: Situation(n_files=9 + int(age_s), offline={"/share": "gone"}), LIMITS.share_s),
    "queue": (lambda age_s: Situation(n_files=9 + int(age_s), n_waiting=LIMITS.queue_most + 1), 0.0),
    "plugin": (lambda age_s: Situation(n_files=9 + int(age_s), failing={"ctf": "11 of 20 failed"}), 0.0),
    "disk": (lambda age_s: Situation(n_files=9 + int(age_s), disk="only 1 GB", resting=True), 0.0),
    "quarantine": (
        lambda age_s: Situation(n_files=9 + int(age_s), n_set_aside=LIMITS.quarantine_most + 1 + int(age_s / 60)),
        0.0,
    ),
}


def calm(now_s: float) -> Situation:
    """Files come and work gets done."""
    return Situation(n_progress=int(now_s), n_files=int(now_s), at_work=True)


def before(now_s: float) -> Situation:
    """As it was when the condition began."""
    return Situation(n_progress=7, n_files=9, at_work=bool(int(now_s) % 2))


@pytest.mark.parametrize("gap_s", [2.0, 5.0, 30.0, 100.0])
@pytest.mark.parametrize("kind", COURSES)
def test_an_alarm__is_raised_in_time_once_and_is_over_once(kind: str, gap_s: float) -> None:
    course, limit_s = COURSES[kind]
    chance, board, now_s = random.Random(kind), Board(LIMITS, (), 0.0), 0.0
    said: list[tuple[float, bool]] = []
    end_s = BEGINS_S + LASTS_S
    while now_s < end_s + 2 * 3600.0:
        if now_s < BEGINS_S - gap_s:
            situation = calm(now_s)
        elif now_s < BEGINS_S:  # the last look before, which saw the last progress and the last file
            situation = replace(before(now_s), at_work=False)
        else:
            situation = course(now_s - BEGINS_S) if now_s < end_s else calm(now_s)
        said += [(now_s, begins) for begins, (named, _), _ in board.update(situation, now_s) if named == kind]
        now_s += gap_s * chance.uniform(0.5, 1.0)
    assert [begins for _, begins in said] == [True, False]
    raised_s, over_s = (at_s for at_s, _ in said)
    assert limit_s - gap_s <= raised_s - BEGINS_S <= limit_s + PROMISED_S
    late_s = 3600.0 if kind == "quarantine" else 0.0  # what was set aside counts for an hour
    assert 0.0 <= over_s - end_s <= late_s + PROMISED_S


def test_every_kind_of_alarm__is_driven_here_and_has_words_on_the_page() -> None:
    assert set(COURSES) == set(ALARMS)
