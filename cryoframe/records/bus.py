"""Delivery of events to listeners, after they are safe in the journal; no deciding: a lost listener loses no work."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cryoframe.errors import CryoframeError
from cryoframe.records import events
from cryoframe.records.events import Clock, Event, ListenerFailed, Value

if TYPE_CHECKING:
    from cryoframe.records.journal import Journal

E = TypeVar("E", bound=Event)
Handler = Callable[[E], None]


class Bus:
    """The run's voice.

    Parameters
    ----------
    journal
        Where events are kept; None keeps nothing.
    run_id
        Written into every event.

    Notes
    -----
    Listeners are called in the order they were added, one event after the other, on the thread that published.
    An event published by a listener (or meanwhile by another thread) is journalled at once and delivered when the
    present one has reached all listeners.
    """

    def __init__(self, journal: Journal | None, run_id: str) -> None:
        self.run_id = run_id
        self._journal = journal
        self._clock = Clock(journal.last_id() if journal else "")
        self._listeners: list[tuple[tuple[type[Event], ...], Callable[[Event], None]]] = []
        self._waiting: deque[Event] = deque()
        self._delivering = False
        self._lock = threading.Lock()

    def make(self, event_class: type[E], cause: str = "", **payload: Value) -> E:
        """Make an event of this run without publishing it (for :meth:`publish_many`)."""
        return events.new(event_class, self.run_id, cause, event_id=self._clock.next_id(), **payload)

    def publish(self, event_class: type[E], cause: str = "", **payload: Value) -> E:
        """Make an event, journal it, tell the listeners; on return it is durable."""
        event = self.make(event_class, cause, **payload)
        self.publish_many([event])
        return event

    def publish_many(self, made: Sequence[Event]) -> None:
        """Journal several events in one transaction (all or none), then tell the listeners of each."""
        if self._journal is not None:
            self._journal.append(made)
        self._deliver(made)

    def subscribe(self, event_class: type[E] | tuple[type[E], ...], handler: Callable[[E], None]) -> Callable[[], None]:
        """Call `handler` with every event of the class (or classes); returns what ends that."""
        classes = event_class if isinstance(event_class, tuple) else (event_class,)
        entry = (classes, handler)
        self._listeners.append(entry)  # type: ignore[arg-type]

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(entry)  # type: ignore[arg-type]

        return unsubscribe

    def _deliver(self, made: Sequence[Event]) -> None:
        with self._lock:
            self._waiting.extend(made)
            if self._delivering:
                return
            self._delivering = True
        try:
            while (event := self._next()) is not None:
                self._tell(event)
        except BaseException:
            with self._lock:
                self._delivering = False
            raise

    def _next(self) -> Event | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._delivering = False
            return None

    def _tell(self, event: Event) -> None:
        for classes, handler in tuple(self._listeners):
            if not isinstance(event, classes):
                continue
            try:
                handler(event)
            except Exception as error:
                if not isinstance(event, ListenerFailed):
                    self._report(event, handler, error)

    def _report(self, event: Event, handler: Callable[[Event], None], error: Exception) -> None:
        failed = self.make(
            ListenerFailed,
            event.event_id,
            failed_event_id=event.event_id,
            listener=getattr(handler, "__qualname__", repr(handler)),
            error=f"{type(error).__name__}: {error}",
        )
        if self._journal is not None:
            # A journal that cannot write now says so to the next publisher; other listeners are still to be told.
            with contextlib.suppress(CryoframeError):
                self._journal.append([failed])
        with self._lock:
            self._waiting.append(failed)
