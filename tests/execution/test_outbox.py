"""What the runner has to say is said in the order of the log, all of it, whatever the disk refuses meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cryoframe.errors import EnvironmentFault
from cryoframe.execution.outbox import Outbox
from cryoframe.records.bus import Bus
from cryoframe.records.events import Event, RunResumed, StageQueued, StageStarted

TASK = {"stage_id": "ctf", "item_id": "a", "key": "k"}


class _Log:
    """A journal that refuses as often as asked."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.n_refusals = 0

    def last_id(self) -> str:
        return ""

    def append(self, events: Sequence[Event]) -> None:
        if self.n_refusals:
            self.n_refusals -= 1
            raise EnvironmentFault("the disk is full")
        self.events += events


def test_what_the_disk_refused__is_said_later_in_the_logs_order_with_its_causes() -> None:
    log = _Log()
    bus = Bus(log, "r")  # type: ignore[arg-type]
    outbox = Outbox(bus)
    outbox.say(StageQueued, **TASK)
    log.n_refusals = 1
    with pytest.raises(EnvironmentFault):
        outbox.flush()
    bus.publish(RunResumed)  # somebody else is heard meanwhile
    outbox.say(StageStarted, **TASK, attempt=1, worker="w", device="cpu")
    outbox.flush()
    outbox.flush()
    assert [type(event).__name__ for event in log.events] == ["RunResumed", "StageQueued", "StageStarted"]
    ids = [event.event_id for event in log.events]
    assert ids == sorted(set(ids))
    assert log.events[2].cause == log.events[1].event_id
    assert log.events[1].cause == ""
