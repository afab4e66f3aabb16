"""Events gathered between two steps and published in one durable transaction, each caused by the last of its task."""

from __future__ import annotations

from cryoframe.errors import EnvironmentFault
from cryoframe.records.bus import Bus
from cryoframe.records.events import Event, StageFinished, StageSkipped, Value

_LAST = (StageFinished, StageSkipped)


class Outbox:
    """What the runner has to say; an event gets its id when it is published, so that the log keeps the ids' order."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._gathered: list[tuple[type[Event], dict[str, Value]]] = []
        self._causes: dict[tuple[Value | None, Value | None], str] = {}

    def say(self, event_class: type[Event], **payload: Value) -> None:
        """Gather an event; its cause is the one before it of the same task."""
        self._gathered.append((event_class, payload))

    def flush(self) -> None:
        """Publish what was gathered.

        Raises
        ------
        EnvironmentFault
            If the disk refuses; it is said again at the next call.
        """
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        tasks = {_task(payload) for _, payload in gathered}
        causes = {task: self._causes[task] for task in tasks if task in self._causes}
        try:
            self._bus.publish_many([self._made(event_class, payload) for event_class, payload in gathered])
        except EnvironmentFault:
            self._gathered = gathered + self._gathered
            for task in tasks:
                self._causes.pop(task, None)
            self._causes |= causes
            raise

    def _made(self, event_class: type[Event], payload: dict[str, Value]) -> Event:
        task = _task(payload)
        event = self._bus.make(event_class, self._causes.get(task, ""), **payload)
        if isinstance(event, _LAST):
            self._causes.pop(task, None)  # a session has many tasks, and nothing follows on this
        elif None not in task:
            self._causes[task] = event.event_id
        return event


def _task(payload: dict[str, Value]) -> tuple[Value | None, Value | None]:
    return payload.get("stage_id"), payload.get("item_id")
