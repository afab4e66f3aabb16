"""An alarm begins once, at its limit, and is over once; what is at rest on purpose is no stall."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoframe.kernel.config import WatchConfig
from cryoframe.watch.alarms import Board, Situation

LIMITS = WatchConfig(stall_s=100.0, silence_s=500.0, share_s=30.0, queue_most=50, quarantine_most=5)
CALM = Situation(n_progress=1, n_files=10)


def _said(board: Board, situation: Situation, now_s: float) -> list[tuple[bool, str, str]]:
    return [(begins, *name) for begins, name, _ in board.update(situation, now_s)]


@pytest.fixture
def board() -> Board:
    made = Board(LIMITS, (), 0.0)
    assert _said(made, CALM, 0.0) == []
    return made


def test_work_that_does_not_move__is_a_stall_at_the_limit_and_not_before(board: Board) -> None:
    stuck = replace(CALM, at_work=True)
    board.update(stuck, 50.0)
    assert _said(board, stuck, 149.0 - 50.0) == []
    assert _said(board, stuck, 151.0) == [(True, "stall", "")]
    assert _said(board, stuck, 400.0) == []
    assert _said(board, replace(stuck, n_progress=2), 401.0) == [(False, "stall", "")]


@pytest.mark.parametrize("calm", [replace(CALM, at_work=True, resting=True), replace(CALM, at_work=False)])
def test_work_held_on_purpose_or_no_work__is_no_stall(board: Board, calm: Situation) -> None:
    assert [_said(board, calm, now_s) for now_s in (100.0, 200.0, 400.0)] == [[], [], []]


def test_a_share__is_given_its_time_and_is_said_back_once(board: Board) -> None:
    away = replace(CALM, offline={"/a": "gone", "/b": "gone"})
    assert _said(board, away, 10.0) == []
    assert _said(board, away, 41.0) == [(True, "share", "/a"), (True, "share", "/b")]
    assert _said(board, replace(CALM, offline={"/b": "gone"}), 50.0) == [(False, "share", "/a")]
    assert _said(board, CALM, 60.0) == [(False, "share", "/b")]
    assert _said(board, away, 70.0) == [], "its time begins anew"


def test_a_queue__is_over_at_half_its_mark_so_that_it_does_not_flutter(board: Board) -> None:
    found = [_said(board, replace(CALM, n_waiting=count), float(at)) for at, count in enumerate((50, 51, 49, 26, 25))]
    assert found == [[], [(True, "queue", "")], [], [], [(False, "queue", "")]]


def test_what_is_set_aside__counts_within_an_hour(board: Board) -> None:
    slow = [_said(board, replace(CALM, n_set_aside=count), 1200.0 * count) for count in range(1, 10)]
    assert not [said for said in slow if ("quarantine" in {name for _, name, _ in said})]
    fast = Board(LIMITS, (), 0.0)
    fast.update(CALM, 0.0)
    assert _said(fast, replace(CALM, n_set_aside=6), 60.0) == [(True, "quarantine", "")]
    assert (False, "quarantine", "") in _said(fast, replace(CALM, n_set_aside=6), 3700.0)


def test_silence__disk_and_plugins__are_said_with_their_cause(board: Board) -> None:
    assert board.update(CALM, 501.0) == [(True, ("silence", ""), "no new file for 501 s")]
    assert board.update(replace(CALM, n_files=11), 502.0) == [(False, ("silence", ""), "it is over")]
    ill = replace(CALM, n_files=11, disk="only 1 GB", failing={"estimate_ctf:a/b": "11 of 20"})
    assert board.update(ill, 503.0) == [
        (True, ("disk", ""), "only 1 GB"), (True, ("plugin", "estimate_ctf:a/b"), "11 of 20"),
    ]  # fmt: skip


def test_what_an_earlier_process_raised__is_not_raised_again_and_ends(board: Board) -> None:
    del board
    later = Board(LIMITS, [("disk", ""), ("share", "/a")], 0.0)
    assert _said(later, replace(CALM, disk="still"), 1.0) == [(False, "share", "/a")]
    assert _said(later, CALM, 2.0) == [(False, "disk", "")]
