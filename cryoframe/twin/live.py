"""A session in real time, or so many times faster: lands each exposure when it is due and says when it could not.

Exposures are simulated ahead by others; nothing is skipped, and what comes late is recorded as late.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Final, Protocol

from cryoframe.errors import InvalidInput
from cryoframe.twin.clock import Clock
from cryoframe.twin.hiccups import Hiccups
from cryoframe.twin.landing import Arrival, Landing, Step, plan_landing, plan_moves
from cryoframe.twin.play import Player

#: Exposures that may be in hand before they are due; their side-cars may come early.
AHEAD: Final = 2
#: Real seconds after which an exposure counts as late, and that are waited before looking for a stop.
LATE_S: Final = 1.0
_LOOK_S: Final = 0.5


class Supplied(Enum):
    """What a supply says instead of an exposure."""

    NOT_YET = "not yet"
    OVER = "over"


class Supply(Protocol):
    """Gives staged exposures one by one, in the order of their due times."""

    def take(self, wait_s: float) -> Arrival | Supplied:
        """Return the next exposure, waiting for it no longer than `wait_s` real seconds."""


class Ahead:
    """A supply that draws exposures from an iterator in a thread, some ahead of their need.

    Parameters
    ----------
    arrivals
        Makes exposures; its errors come out of :meth:`take`.
    depth
        How many may wait.
    """

    def __init__(self, arrivals: Iterator[Arrival], depth: int = 4) -> None:
        self._waiting: queue.Queue[Arrival | Supplied | BaseException] = queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._draw, args=(arrivals,), name="exposures ahead", daemon=True)
        self._thread.start()

    def take(self, wait_s: float) -> Arrival | Supplied:
        """Return the next exposure, waiting for it no longer than `wait_s`."""
        try:
            got = self._waiting.get(timeout=max(wait_s, 1e-3))
        except queue.Empty:
            return Supplied.NOT_YET
        if isinstance(got, BaseException):
            raise got
        return got

    def close(self) -> None:
        """Draw no more."""
        self._closed.set()
        self._thread.join(timeout=60.0)

    def _draw(self, arrivals: Iterator[Arrival]) -> None:
        try:
            for arrival in arrivals:
                if not self._put(arrival):
                    return
            self._put(Supplied.OVER)
        except BaseException as error:  # whoever takes shall see it
            self._put(error)

    def _put(self, what: Arrival | Supplied | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._waiting.put(what, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False


@dataclass(frozen=True)
class Arrived:
    """How punctual one exposure was, in seconds of the session."""

    exposure_id: str
    due_s: float
    begun_s: float
    late: bool = False

    @property
    def late_s(self) -> float:
        """Delay against its due time."""
        return self.begun_s - self.due_s


@dataclass
class LiveReport:
    """What a live session came to."""

    arrived: list[Arrived] = field(default_factory=list)
    #: Whether everything landed; False if it was stopped.
    finished: bool = False
    #: Movies that are wholly there, those of before a stop included.
    n_landed: int = 0

    @property
    def late(self) -> list[Arrived]:
        """Exposures that were not ready in time."""
        return [one for one in self.arrived if one.late]

    @property
    def worst_s(self) -> float:
        """Longest delay, in seconds of the session."""
        return max((one.late_s for one in self.arrived), default=0.0)

    @property
    def movies_per_hour(self) -> float:
        """Rate that was reached, in hours of the session; 0 where two exposures are lacking."""
        begun = [one.begun_s for one in self.arrived]
        span_s = max(begun, default=0.0) - min(begun, default=0.0)
        return 3600 * (len(begun) - 1) / span_s if span_s > 0 else 0.0

    def summary(self) -> str:
        """Return the sentence people are told."""
        head = f"{len(self.arrived)} movies landed at {self.movies_per_hour:.0f}/h"
        if not self.late:
            return f"{head}, all in time"
        return (
            f"{head}; {len(self.late)} came late, the worst by {self.worst_s:.0f} s:"
            " the simulation does not keep up with this rate"
        )


def due_s(index: int, movies_per_hour: float) -> float:
    """Return when the exposure of an index from 0 is due.

    Raises
    ------
    InvalidInput
        The rate is not above 0 and finite.
    """
    if not 0 < movies_per_hour < 1e9:
        raise InvalidInput(f"{movies_per_hour} movies an hour", expected="above 0; 100 to 700 is usual")
    return index * 3600.0 / movies_per_hour


def land_live(
    supply: Supply, player: Player, clock: Clock, *, hiccups: Hiccups | None = None, seed: int = 0,
    stop: threading.Event | None = None, said: Callable[[Arrived], None] | None = None,
) -> LiveReport:  # fmt: skip
    """Land exposures as they are due, while they are still being made.

    The clock begins when the first exposure is ready. An exposure that is ready too late lands at once, is told to
    `said` and written into the player's journal; the due times of the others stay. After a stop, the same supply
    from its beginning with the same journal goes on: what has landed is passed over.

    Parameters
    ----------
    supply
        Gives exposures whose ``time_s`` is when they are due.
    player
        Does the steps and knows which were done.
    clock
        The session's time.
    hiccups, seed
        As for :func:`~cryoframe.twin.landing.plan_landing`.
    stop
        Set it to stop after the present step.
    said
        Told of each exposure as it begins to land.

    Raises
    ------
    EnvironmentFault
        No space left, or the system refuses; started again, it goes on.
    """
    live = _Live(supply, player, clock, hiccups or Hiccups(), seed, stop or threading.Event(), said)
    return live.run()


@dataclass
class _Live:
    supply: Supply
    player: Player
    clock: Clock
    hiccups: Hiccups
    seed: int
    stop: threading.Event
    said: Callable[[Arrived], None] | None
    report: LiveReport = field(default_factory=LiveReport)
    steps: list[tuple[float, int, Step]] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    begun: bool = False
    over: bool = False
    n_pushed: int = 0

    def run(self) -> LiveReport:
        while not self.stop.is_set():
            if not self._do_what_is_due():
                return self.report
            if self.over and not self.steps:
                self.report.finished = True
                return self.report
            if self.over or (self.steps and self._in_hand() >= AHEAD):
                self.clock.wait_until(self.steps[0][0], self.stop)
            else:
                self._take()
        return self.report

    def _in_hand(self) -> int:
        now_s = self.clock.now_s() if self.begun else 0.0
        return sum(arrival.time_s > now_s for arrival in self.arrivals[-AHEAD:])

    def _do_what_is_due(self) -> bool:
        while self.begun and self.steps and self.steps[0][0] <= self.clock.now_s():
            if self.stop.is_set():
                return False
            self.player.do(heapq.heappop(self.steps)[2])
        return True

    def _take(self) -> None:
        wait_s = _LOOK_S
        if self.steps:
            wait_s = min(wait_s, max((self.steps[0][0] - self.clock.now_s()) / self.clock.speed, 0.0))
        got = self.supply.take(wait_s)
        if got is Supplied.OVER:
            self.over = True
            if self.begun:
                after_s = max([self.clock.now_s(), *(step[0] for step in self.steps)])
                self._push(plan_moves(self.arrivals, self.hiccups, self.seed, after_s=after_s))
        elif isinstance(got, Arrival):
            self._arrived(got)

    def _arrived(self, arrival: Arrival) -> None:
        if not self.begun:
            self.begun = True
            self.clock.begin(max(self.player.journal.time_s, arrival.time_s if not self.player.journal.done else 0.0))
        self.arrivals.append(arrival)
        plan_moves([arrival], self.hiccups, self.seed, after_s=0.0)  # what cannot be is refused now, not in the end
        now_s = self.clock.now_s()
        landing = plan_landing([arrival], self.hiccups, self.seed, folders_stay=True)
        before = [step for step in landing.steps if self.player.is_done(step)]
        if not before:
            delay_s = max(now_s - arrival.time_s, 0.0)
            self._punctual(Arrived(arrival.exposure_id, arrival.time_s, arrival.time_s + delay_s,
                                   delay_s > LATE_S * self.clock.speed))  # fmt: skip
            self._push(landing, delay_s)
        else:
            self._push(landing)

    def _punctual(self, arrived: Arrived) -> None:
        self.report.arrived.append(arrived)
        if arrived.late:
            self.player.journal.note({"late": asdict(arrived)})
        if self.said is not None:
            self.said(arrived)

    def _push(self, landing: Landing, delay_s: float = 0.0) -> None:
        for hiccup in landing.happened:
            fact = {"happened": asdict(hiccup)}
            if fact not in self.player.journal.notes:
                self.player.journal.note(fact)
        for step in landing.steps:
            if not self.player.is_done(step):
                heapq.heappush(self.steps, (step.time_s + delay_s, self.n_pushed, step))
                self.n_pushed += 1
