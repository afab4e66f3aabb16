"""One seed, one thread, one clock: chance, time and what is to happen when. Knows nothing of the program it is for."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

T = TypeVar("T")
#: The wall clock at the beginning: 2026-11-01, 00:00 UTC.
BEGIN_NS = 1_793_491_200_000_000_000
#: So many lines of what happened are kept to be shown.
KEPT_LINES = 400


class Killed(BaseException):
    """The process is no more."""


class Violation(BaseException):
    """What was promised does not hold; nobody in between may make something else of it."""


class World:
    """Time and chance.

    Parameters
    ----------
    seed
        Everything follows from it.
    is_told
        Print what happens as it happens.
    """

    def __init__(self, seed: int, *, tell: Callable[[str], None] | None = None) -> None:
        self.seed, self._tell = seed, tell
        self.now_s, self.wall_offset_s = 1000.0, 0.0
        #: What a reading of the clock takes: on a slow machine time is up sooner.
        self.tick_s = 1e-6
        #: The process is killed at the next reading of the clock.
        self.kill = False
        #: Events that only observers need: the product is not running.
        self.is_still = False
        self.hidden = ""
        self._events: list[tuple[float, int, str, Callable[[], None]]] = []
        self._n_events = 0
        self._streams: dict[str, random.Random] = {}
        self._digest = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.n_lines = 0
        #: How often which fault was met.
        self.met: dict[str, int] = {}

    # -- chance ---------------------------------------------------------------------------------------------------
    def chance(self, name: str) -> random.Random:
        """Return the stream of chance of a part: what another part draws does not disturb it."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed} {name}")
        return self._streams[name]

    def pick(self, name: str, among: Sequence[T]) -> T:
        return self.chance(name).choice(among)

    def happens(self, name: str, probability: float) -> bool:
        """Whether something of this probability happens now; what does is counted."""
        if probability <= 0 or self.chance(name).random() >= probability:
            return False
        self.note(name)
        return True

    def note(self, name: str) -> None:
        self.met[name] = self.met.get(name, 0) + 1

    def token(self, n_bytes: int) -> str:
        return f"{self.chance('token').getrandbits(8 * n_bytes):0{2 * n_bytes}x}"

    # -- time -----------------------------------------------------------------------------------------------------
    def monotonic(self) -> float:
        """Stand in for ``time.monotonic`` and the clocks of processor time."""
        self.alive()
        if not self.is_still:
            self.now_s += self.tick_s
        return self.now_s

    def time_ns(self) -> int:
        """Stand in for ``time.time_ns``."""
        self.alive()
        return self.wall_ns

    def time(self) -> float:
        """Stand in for ``time.time``."""
        return self.time_ns() / 1e9

    @property
    def wall_ns(self) -> int:
        return BEGIN_NS + round((self.now_s + self.wall_offset_s) * 1e9)

    def utc(self, zone: tzinfo | None = UTC) -> datetime:
        return datetime.fromtimestamp(self.wall_ns / 1e9, zone)

    def sleep(self, seconds: float) -> None:
        """Stand in for ``time.sleep``."""
        self.alive()
        self.advance(max(0.0, seconds))
        self.alive()

    def alive(self) -> None:
        """End the process if somebody killed it."""
        if self.kill:
            self.kill = False
            self.say("killed")
            raise Killed

    def at(self, at_s: float, what: str, do: Callable[[], None]) -> None:
        """Have something happen."""
        self._n_events += 1
        heapq.heappush(self._events, (max(at_s, self.now_s), self._n_events, what, do))

    def after(self, delay_s: float, what: str, do: Callable[[], None]) -> None:
        self.at(self.now_s + delay_s, what, do)

    def advance(self, seconds: float) -> None:
        """Let time pass, and happen what happens."""
        self.wait(self.now_s + seconds, lambda: False)

    def wait(self, until_s: float, over: Callable[[], bool]) -> None:
        """Let time pass until something is so, or a moment has come."""
        while not over():
            if not self._events or self._events[0][0] > until_s:
                self.now_s = max(self.now_s, until_s)
                return
            at_s, _, what, do = heapq.heappop(self._events)
            self.now_s = max(self.now_s, at_s)
            if what:
                self.say(what)
            do()

    # -- what happened ----------------------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        """Write down what happened; the digest of all that is the seed's signature."""
        if self.hidden:
            text = text.replace(self.hidden, "@")
        line = f"{self.now_s:12.3f} {text.encode('utf-8', 'backslashreplace').decode()}"
        self._digest.update(line.encode() + b"\n")
        self.n_lines += 1
        self.lines.append(line)
        if self._tell is not None:
            self._tell(line)

    def signature(self) -> str:
        return self._digest.hexdigest()[:16]


class Instead:
    """Stands in for a module or class in one other module: some names are others, the rest is what it was."""

    def __init__(self, real: Any, **others: Any) -> None:
        self.__dict__.update(others)
        self.__dict__["_real"] = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
