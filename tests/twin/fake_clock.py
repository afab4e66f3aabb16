"""A clock that goes as fast as it is asked to, and tells."""

from __future__ import annotations

import threading
from collections.abc import Callable


class FakeClock:
    """Waiting takes no time; what happens in between can be told to."""

    speed = 1.0

    def __init__(self, waited: Callable[[float], None] = lambda _: None) -> None:
        self.time_s = 0.0
        self.waited = waited

    def begin(self, time_s: float) -> None:
        self.time_s = time_s

    def now_s(self) -> float:
        return self.time_s

    def wait_until(self, time_s: float, stop: threading.Event) -> bool:
        self.time_s = max(self.time_s, time_s)
        self.waited(self.time_s)
        return not stop.is_set()
