"""What signals mean while a session watches: TERM and INT end it in good order, HUP has its configuration read anew."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def heard(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT call `stop`, a second one end the process at once, and SIGHUP call `reload`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            reload()
            return
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
