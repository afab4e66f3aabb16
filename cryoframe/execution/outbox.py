"""Events gathered between two steps and published in one durable transaction, each caused by the last of its task."""

from __future__ import annotations

from dataclasses import fields

from cryoframe.errors import EnvironmentFault
from cryoframe.records.bus import Bus
from cryoframe.records.events import Event, Value

_HEADER = frozenset(field.name for field in fields(Event))


class Outbox:
    """What the runner has to say."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._gathered: list[Event] = []
        self._causes: dict[tuple[Value | None, Value | None], str] = {}
        self._refused = False

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
        if self._refused:
            self._renew()
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            try:
                self._bus.publish_many(gathered)
            except EnvironmentFault:
                self._gathered, self._refused = gathered + self._gathered, True
                raise
        self._refused = False

    def _renew(self) -> None:
        """Give new ids to what the disk refused: others may have been heard since, and the log keeps the ids' order."""
        new_ids: dict[str, str] = {}
        for at, event in enumerate(self._gathered):
            content = {name: value for name, value in vars(event).items() if name not in _HEADER}
            again = self._bus.make(type(event), new_ids.get(event.cause, event.cause), **content)
            new_ids[event.event_id], self._gathered[at] = again.event_id, again
        self._causes = {task: new_ids.get(cause, cause) for task, cause in self._causes.items()}
