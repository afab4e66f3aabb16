"""The session's time: real, or so many times faster. Waiting is sleep that a request to stop ends."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from cryoframe.errors import InvalidInput


class Clock(Protocol):
    """Seconds of the session."""

    @property
    def speed(self) -> float:
        """Seconds of the session in a real second."""

    def begin(self, time_s: float) -> None:
        """Let it be `time_s` now."""

    def now_s(self) -> float:
        """Return the time."""

    def wait_until(self, time_s: float, stop: threading.Event) -> bool:
        """Wait; returns False at once when asked to stop."""


class RealClock:
    """The machine's monotonic clock.

    Parameters
    ----------
    speed
        How many times faster the session goes than the world.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not 0 < speed <= 1e6:
            raise InvalidInput(f"speed {speed}", expected="above 0, at most a million")
        self._speed = speed
        self._zero_s = time.monotonic()

    @property
    def speed(self) -> float:
        """Seconds of the session in a real second."""
        return self._speed

    def begin(self, time_s: float) -> None:
        """Let it be `time_s` now."""
        self._zero_s = time.monotonic() - time_s / self._speed

    def now_s(self) -> float:
        """Return the time."""
        return (time.monotonic() - self._zero_s) * self._speed

    def wait_until(self, time_s: float, stop: threading.Event) -> bool:
        """Wait; returns False at once when asked to stop."""
        while (left_s := (time_s - self.now_s()) / self._speed) > 0:
            if stop.wait(left_s):
                return False
        return not stop.is_set()
