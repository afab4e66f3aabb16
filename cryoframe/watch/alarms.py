"""When an alarm is due: rules over what the daemon knows, with the clock handed in. Sends and journals nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryoframe.kernel.config import WatchConfig

Name = tuple[str, str]
HOUR_S = 3600.0
#: A queue is said to be short again at this part of the mark: else the alarm would flutter.
RELIEF = 0.5


@dataclass(frozen=True)
class Situation:
    """What the daemon knows after a rescan.

    Parameters
    ----------
    n_progress
        Grows whenever a task ends or a file is decided.
    n_files
        Files ever seen.
    n_waiting
        Tasks and settled files that wait for a worker.
    n_set_aside
        Tasks given up and files rejected.
    at_work
        Whether something is queued or running that could move.
    resting
        Whether somebody, or the disk guard, keeps work from starting: then standing still is no stall.
    offline
        Roots that cannot be scanned, with the reason.
    disk
        Why nothing may be written, or empty.
    failing
        Implementations that are held because they keep failing, with the reason.
    """

    n_progress: int = 0
    n_files: int = 0
    n_waiting: int = 0
    n_set_aside: int = 0
    at_work: bool = False
    resting: bool = False
    offline: Mapping[str, str] = field(default_factory=dict)
    disk: str = ""
    failing: Mapping[str, str] = field(default_factory=dict)


class Board:
    """Turns one situation after another into alarms that begin and end, each said once.

    Parameters
    ----------
    config
        The limits.
    standing
        Alarms that an earlier process raised and that were not over.
    now_s
        The monotonic clock.
    """

    def __init__(self, config: WatchConfig, standing: Iterable[Name], now_s: float) -> None:
        self.config = config
        self.standing: set[Name] = set(standing)
        self._moved_s, self._new_s = now_s, now_s
        self._last: Situation | None = None
        self._away_s: dict[str, float] = {}
        self._set_aside: deque[tuple[float, int]] = deque()

    def update(self, now: Situation, now_s: float) -> list[tuple[bool, Name, str]]:
        """Return (begins, name, sentence) of every change."""
        due = self._due(now, now_s)
        begun = [(True, name, text) for name, text in sorted(due.items()) if name not in self.standing]
        over = [(False, name, "it is over") for name in sorted(self.standing - due.keys())]
        self.standing, self._last = set(due), now
        return begun + over

    def take_back(self, changes: Iterable[tuple[bool, Name, str]]) -> None:
        """Forget changes that could not be said: the next update finds them again."""
        for begins, name, _ in changes:
            (self.standing.discard if begins else self.standing.add)(name)

    def _due(self, now: Situation, now_s: float) -> dict[Name, str]:
        due: dict[Name, str] = {}
        if now.disk:
            due["disk", ""] = now.disk
        due |= {("plugin", subject): reason for subject, reason in now.failing.items()}
        due |= self._shares(now, now_s)
        still_s, quiet_s = self._quiet(now, now_s)
        if still_s >= self.config.stall_s:
            due["stall", ""] = f"work is queued and nothing has come of it for {still_s:.0f} s"
        if self.config.silence_s and quiet_s >= self.config.silence_s:
            due["silence", ""] = f"no new file for {quiet_s:.0f} s"
        most = self.config.queue_most * (RELIEF if ("queue", "") in self.standing else 1.0)
        if now.n_waiting > most:
            due["queue", ""] = f"{now.n_waiting} wait for a worker; {self.config.queue_most} are allowed for"
        if (more := self._more_set_aside(now, now_s)) > self.config.quarantine_most:
            due["quarantine", ""] = f"{more} files or tasks were set aside within an hour"
        return due

    def _shares(self, now: Situation, now_s: float) -> dict[Name, str]:
        self._away_s = {root: self._away_s.get(root, now_s) for root in now.offline}
        return {
            ("share", root): f"it has not answered for {now_s - self._away_s[root]:.0f} s: {reason}"
            for root, reason in now.offline.items()
            if now_s - self._away_s[root] >= self.config.share_s or ("share", root) in self.standing
        }

    def _quiet(self, now: Situation, now_s: float) -> tuple[float, float]:
        """Return for how long work has stood still, and for how long no file has come."""
        if self._last is None or now.n_progress != self._last.n_progress or not now.at_work or now.resting:
            self._moved_s = now_s
        if self._last is None or now.n_files != self._last.n_files:
            self._new_s = now_s
        return now_s - self._moved_s, now_s - self._new_s

    def _more_set_aside(self, now: Situation, now_s: float) -> int:
        if not self._set_aside or self._set_aside[-1][1] != now.n_set_aside:
            self._set_aside.append((now_s, now.n_set_aside))
        while len(self._set_aside) > 1 and self._set_aside[1][0] <= now_s - HOUR_S:
            self._set_aside.popleft()
        return now.n_set_aside - min(count for _, count in self._set_aside)
