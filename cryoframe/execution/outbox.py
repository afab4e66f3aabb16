"""Events gathered between two steps and published in one durable transaction, each caused by the last of its task."""

from __future__ import annotations

from cryoframe.errors import EnvironmentFault
from cryoframe.records.bus import Bus
from cryoframe.records.events import Event, Value


class Outbox:
    """What the runner has to say."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._gathered: list[Event] = []
        self._causes: dict[tuple[Value | None, Value | None], str] = {}

    def say(self, event_class: type[Event], **payload: Value) -> None:
        """Gather an event; its cause is the one before it of the same task."""
        task = (payload.get("stage_id"), payload.get("item_id"))
        event = self._bus.make(event_class, self._causes.get(task, ""), **payload)
        if None not in task:
            self._causes[task] = event.event_id
        self._gathered.append(event)

    def flush(self) -> None:
        """Publish what was gathered.

        Raises
        ------
        EnvironmentFault
            If the disk refuses; it is said again at the next call.
        """
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            try:
                self._bus.publish_many(gathered)
            except EnvironmentFault:
                self._gathered = gathered + self._gathered
                raise
