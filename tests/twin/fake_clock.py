"""A clock that goes as fast as it is asked to, and tells."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cryoframe.twin.clock import NoWaiting


class FakeClock(NoWaiting):
    """Waiting takes no time; what happens in between can be told to."""

    def __init__(self, waited: Callable[[float], None] = lambda _: None) -> None:
        super().__init__()
        self.waited = waited

    @property
    def time_s(self) -> float:
        return self._time_s

    @time_s.setter
    def time_s(self, time_s: float) -> None:
        self._time_s = time_s

    def wait_until(self, time_s: float, stop: threading.Event) -> bool:
        goes_on = super().wait_until(time_s, stop)
        self.waited(self.now_s())
        return goes_on and not stop.is_set()
