"""Listeners hear of everything, in order, and can harm nobody."""

from __future__ import annotations

import threading

import pytest

from cryoframe.errors import EnvironmentFault
from cryoframe.records.bus import Bus
from cryoframe.records.events import (
    Event,
    ListenerFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    StageEvent,
    StageQueued,
    StageRetried,
)


class FullDisk:
    """A journal that cannot write."""

    def last_id(self) -> str:
        return ""

    def append(self, events: object) -> None:
        raise EnvironmentFault("disk full")


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def last_id(self) -> str:
        return ""

    def append(self, events: list[Event]) -> None:
        self.events += events


def test_listeners__are_called_in_the_order_they_were_added() -> None:
    bus, heard = Bus(None, "run"), []
    for number in range(5):
        bus.subscribe(RunPaused, lambda event, number=number: heard.append((number, event.reason)))
    bus.publish(RunPaused, reason="disk")
    assert heard == [(number, "disk") for number in range(5)]


def test_a_listener__hears_its_classes_and_their_subclasses_only() -> None:
    bus, heard = Bus(None, "run"), []
    bus.subscribe((StageEvent, RunResumed), lambda event: heard.append(type(event).__name__))
    bus.publish(RunPaused, reason="disk")
    bus.publish(RunResumed)
    bus.publish(StageQueued, stage_id="ctf", item_id="a", key="k")
    assert heard == ["RunResumed", "StageQueued"]


def test_an_unsubscribed_listener__hears_no_more__twice_is_harmless() -> None:
    bus, heard = Bus(None, "run"), []
    stop = bus.subscribe(RunResumed, heard.append)
    bus.publish(RunResumed)
    stop()
    stop()
    bus.publish(RunResumed)
    assert len(heard) == 1


def test_a_raising_listener__is_reported_and_the_others_are_told() -> None:
    journal = Recorder()
    bus, heard, failures = Bus(journal, "run"), [], []  # type: ignore[arg-type]

    def broken(event: Event) -> None:
        raise ZeroDivisionError("no luck")

    bus.subscribe(RunResumed, broken)
    bus.subscribe(RunResumed, heard.append)
    bus.subscribe(ListenerFailed, failures.append)
    event = bus.publish(RunResumed)
    assert heard == [event]
    assert [(f.cause, f.failed_event_id, f.error) for f in failures] == [
        (event.event_id, event.event_id, "ZeroDivisionError: no luck")
    ]
    assert "broken" in failures[0].listener
    assert [type(kept).__name__ for kept in journal.events] == ["RunResumed", "ListenerFailed"]


def test_a_listener_that_fails_on_failures__does_not_recurse() -> None:
    journal = Recorder()
    bus = Bus(journal, "run")  # type: ignore[arg-type]

    def broken(event: Event) -> None:
        raise ValueError("always")

    bus.subscribe(Event, broken)
    bus.publish(RunResumed)
    assert [type(kept).__name__ for kept in journal.events] == ["RunResumed", "ListenerFailed"]


def test_an_event_published_by_a_listener__waits_its_turn() -> None:
    bus, heard = Bus(None, "run"), []

    def answering(event: RunPaused) -> None:
        bus.publish(RunResumed, event.event_id)
        heard.append("answered")

    bus.subscribe(RunPaused, answering)
    bus.subscribe(RunPaused, lambda event: heard.append("second listener"))
    bus.subscribe(RunResumed, lambda event: heard.append("resumed"))
    bus.publish(RunPaused, reason="disk")
    assert heard == ["answered", "second listener", "resumed"]


def test_an_event_that_cannot_be_kept__is_told_to_nobody() -> None:
    bus, heard = Bus(FullDisk(), "run"), []  # type: ignore[arg-type]
    bus.subscribe(RunResumed, heard.append)
    with pytest.raises(EnvironmentFault):
        bus.publish(RunResumed)
    assert heard == []


def test_a_listener_added_while_one_is_told__hears_the_next_event() -> None:
    bus, heard = Bus(None, "run"), []
    stop = bus.subscribe(RunResumed, lambda event: bus.subscribe(RunResumed, heard.append))
    bus.publish(RunResumed)
    stop()
    assert heard == []
    bus.publish(RunResumed)
    assert len(heard) == 1


def test_keyboard_interrupt_in_a_listener__reaches_the_publisher_and_the_bus_lives_on() -> None:
    bus, heard = Bus(None, "run"), []

    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    stop = bus.subscribe(RunResumed, interrupted)
    with pytest.raises(KeyboardInterrupt):
        bus.publish(RunResumed)
    stop()
    bus.subscribe(RunFinished, heard.append)
    bus.publish(RunFinished, reason="done")
    assert len(heard) == 1


def test_four_threads__every_event_is_heard_once() -> None:
    bus, heard = Bus(None, "run"), []
    bus.subscribe(StageRetried, lambda event: heard.append(event.item_id))

    def talk(name: str) -> None:
        for number in range(250):
            bus.publish(StageRetried, stage_id="s", item_id=f"{name}{number}")

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == sorted(f"{name}{number}" for name in "abcd" for number in range(250))
    assert [one for one in heard if one.startswith("a")] == [f"a{number}" for number in range(250)]
