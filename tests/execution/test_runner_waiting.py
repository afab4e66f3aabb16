"""The order in which tasks that wait are taken."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from cryoframe.execution.ledger import Due
from cryoframe.execution.waiting import Waiting


def _due(stage: str, item: str) -> Due:
    return cast(Due, SimpleNamespace(node=SimpleNamespace(id=stage, domain="micrographs"), item_id=item, key=item))


def _taken(waiting: Waiting) -> list[str]:
    taken = []
    while (due := waiting.pop(lambda _: True)) is not None:
        taken.append(f"{due.node.id}{due.item_id}")
    return taken


def test_later_stages__go_first_and_equals_in_order_of_arrival() -> None:
    waiting = Waiting(["a", "b", "c"])
    for stage, item in (("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2")):
        waiting.push(_due(stage, item))
    assert len(waiting) == 5
    assert _taken(waiting) == ["c1", "b1", "b2", "a1", "a2"]


def test_a_task_that_may_not_start__keeps_its_place() -> None:
    waiting = Waiting(["a", "b"])
    for item in "12":
        waiting.push(_due("b", item))
    waiting.push(_due("a", "1"))
    first = waiting.pop(lambda node: node.id == "a")
    assert first is not None
    assert first.node.id == "a"
    assert waiting.pop(lambda _: False) is None
    assert _taken(waiting) == ["b1", "b2"]


def test_a_delayed_task__is_not_had_before_its_time() -> None:
    waiting = Waiting(["a"])
    waiting.push(_due("a", "late"), delay_s=0.05)
    assert 0.0 < waiting.until_s() <= 0.05
    assert waiting.pop(lambda _: True) is None
    waiting.push(_due("a", "now"))
    assert waiting.until_s() == 0.0
    time.sleep(0.06)
    assert _taken(waiting) == ["anow", "alate"]
    assert waiting.until_s() == float("inf")


def test_a_cleared_queue__gives_everything_back() -> None:
    waiting = Waiting(["a"])
    waiting.push(_due("a", "1"))
    waiting.push(_due("a", "2"), delay_s=9.0)
    assert [due.item_id for due in waiting.clear()] == ["1", "2"]
    assert not waiting


def test_the_newest_first__where_that_is_asked_for_and_later_stages_still_before() -> None:
    waiting = Waiting(["a", "b"], newest=True)
    for stage, item in (("a", "1"), ("a", "2"), ("b", "1"), ("a", "3"), ("b", "2")):
        waiting.push(_due(stage, item))
    assert _taken(waiting) == ["b2", "b1", "a3", "a2", "a1"]


def test_what_reads_from_a_folder_that_is_missing__is_tried_when_another_is_and_costs_nothing_until_then() -> None:
    waiting, share = Waiting(["a", "b"], newest=True), Path("/share")
    waiting.missing([share])
    for number in range(5):
        waiting.push(_due("a", str(number)))
    for _ in range(4):
        place = waiting.pop(lambda _: True)
        assert place is not None
        waiting.set_aside(place)
        waiting.missing([share])
    assert (len(waiting), sorted(waiting.names())) == (5, [("a", str(number)) for number in range(5)])
    assert _taken(waiting) == ["a0"], "what was put aside keeps no other from its turn"
    assert waiting.until_s() == float("inf")
    waiting.take_up("2")
    assert _taken(waiting) == ["a2"]
    waiting.missing([])
    assert _taken(waiting) == ["a4", "a3", "a1"], "in their order"
    assert not waiting
