"""In what condition a run is, by its folder alone: who is at work, what stands still, why, since when. Shows nothing.

`cryoframe status` says it in words, the page of a session on a wall.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryoframe.records.database import Database
from cryoframe.records.events import FAILED, Event, RunFinished
from cryoframe.records.journal import Journal
from cryoframe.records.signs import last_but, last_of_each
from cryoframe.records.state import Standing, State, Watermark

LOCK = "lock"
#: In the order of what is looked at first; the word of a run is the first that applies.
ALARM, PAUSED, WORKING, IDLE, ENDED, NOBODY = "alarm", "paused", "at work", "waiting", "ended", "nobody at work"
_SIGNS = (
    "RunPaused", "RunResumed", "StageHeld", "StageReleased", "RootLost", "RootFound", "RunCancelled",
)  # fmt: skip
#: What somebody may note while nobody is at work.
_BY_OTHERS = ("RunHeld", "RunReleased", "StageRetried", "BackupMade")
_OVER = {"RunResumed": "RunPaused", "StageReleased": "StageHeld", "RootFound": "RootLost"}
_SINCE = re.compile(r"since (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4})")
_PROCESS = re.compile(r"process (\d+) on (\S+)")
KB = 1024
#: The first version of the journal whose watermarks say up to when.
MARKED = 3


@dataclass(frozen=True)
class Sign:
    """Something that stands still: what (``stage``, ``share``, ``disk``), of which name, why and since when (UTC)."""

    kind: str
    subject: str
    reason: str
    since: str


@dataclass(frozen=True)
class Condition:
    """In what condition a run is.

    Parameters
    ----------
    folder
        Of the run.
    holder
        The process in charge, or empty.
    last_holder
        The one that was in charge last, as it said itself; or empty.
    last_utc
        When the log was written last.
    end
        Why nobody is in charge: ``ended`` in good order, ``cancelled``, ``failed``, ``lost`` without a word; or empty.
    failed
        The error by which the process in charge ended, or empty.
    held
        Who paused it and when, or empty.
    stands
        Disk, shares, stages that stand still now; `alarms` are apart.
    n_left
        How much work is queued or in progress.
    """

    folder: str = ""
    holder: str = ""
    last_holder: str = ""
    last_utc: str = ""
    end: str = ""
    cancelled: str = ""
    failed: str = ""
    held: str = ""
    stands: Sequence[Sign] = ()
    alarms: Sequence[Standing] = ()
    watermarks: Sequence[Watermark] = ()
    n_left: int = 0
    #: Memory [MB] of the process in charge and of all it started; of the machine and of the disk: free, all.
    memory_MB: tuple[float, float] = (0.0, 0.0)
    machine_MB: tuple[float, float] = (0.0, 0.0)
    disk_GB: tuple[float, float] = (0.0, 0.0)

    @property
    def began_utc(self) -> str:
        """When the process in charge, or the last one, took charge."""
        return began_utc(self.holder or self.last_holder)

    @property
    def held_by(self) -> tuple[str, str]:
        """Who paused it, and when; both empty where nobody did."""
        who, _, since = self.held.removeprefix("paused by ").rpartition(" at ")
        return who, since

    @property
    def word(self) -> str:
        """The one word for it."""
        if not self.holder:
            return ENDED if self.end in ("ended", "cancelled") else NOBODY
        if self.alarms or any(sign.kind in ("share", "stage") for sign in self.stands):
            return ALARM
        if self.held or self.stands:
            return PAUSED
        return WORKING if self.n_left else IDLE


class Watcher:
    """Looks at a run again and again.

    Parameters
    ----------
    folder
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signs: dict[tuple[str, str], Event] = {}
        self._up_to = 0

    def look(self, database: Database, *, n_left: int = 0, end: str = "") -> Condition:
        """Return the condition now.

        Parameters
        ----------
        database
            Of the run.
        n_left
            How much work is left, as the caller knows.
        end
            What only the process in charge knows: that it ends (``ended``), or is lost (``lost``).
        """
        state, journal = State(database), Journal(database)
        said = locked_by(self._folder)
        holder = "" if end else said[0]
        last = journal.last()
        stands = self._stands(database, said[1])
        cancelled = self._cancelled(said[1])
        return Condition(
            folder=os.fspath(self._folder.absolute()),
            holder=holder,
            last_holder=said[1],
            last_utc=last.time_utc if last else "",
            end="" if holder else self._end(end, database),
            cancelled=cancelled,
            failed="" if holder else _failed(last_but(database, _BY_OTHERS)),
            held=state.held(),
            stands=stands if holder else (),
            alarms=state.alarms(),
            watermarks=state.watermarks() if _version(database) >= MARKED else (),
            n_left=n_left,
            memory_MB=memory_MB(holder),
            machine_MB=_machine_MB(),
            disk_GB=_disk_GB(self._folder),
        )

    def _end(self, end: str, database: Database) -> str:
        if ("RunCancelled", "") in self._signs and end != "lost":
            return "cancelled"
        last = last_but(database, _BY_OTHERS)
        if not end and _failed(last):
            return "failed"
        return end or ("ended" if last is None or type(last).__name__ == "RunFinished" else "lost")

    def _cancelled(self, holder: str) -> str:
        """Return who cancelled what that process did, and when; what an earlier one was told is forgotten."""
        event = self._signs.get(("RunCancelled", ""))
        if event is None or _is_before(event, holder):
            self._signs.pop(("RunCancelled", ""), None)
            return ""
        return f"cancelled by {getattr(event, 'who', '')} at {event.time_utc[:19]}"

    def _stands(self, database: Database, holder: str) -> tuple[Sign, ...]:
        found, self._up_to = last_of_each(database, _SIGNS, after=self._up_to)
        for event in found:
            name = type(event).__name__ if type(event).__name__ != "ForeignEvent" else str(getattr(event, "name", ""))
            subject = _subject(event)
            if name in _OVER:
                self._signs.pop((_OVER[name], subject), None)
            else:
                self._signs[name, subject] = event
        kinds = {"RunPaused": "disk", "StageHeld": "stage", "RootLost": "share"}
        return tuple(
            Sign(kinds[name], subject, _said(event, "reason"), event.time_utc)
            for (name, subject), event in sorted(self._signs.items())
            if name in kinds and not _is_before(event, holder)
        )


def _failed(event: Event | None) -> str:
    """Return the error by which a process ended, if this is its last event and says so."""
    reason = str(getattr(event, "reason", "")) if isinstance(event, RunFinished) else ""
    return reason.removeprefix(FAILED) if reason.startswith(FAILED) else ""


def _version(database: Database) -> int:
    return int(str(database.read("PRAGMA user_version")[0][0]))


def _subject(event: Event) -> str:
    return _said(event, "stage_id") or _said(event, "root")


def _said(event: Event, name: str) -> str:
    """Return a field of an event, also of a class that is not loaded here."""
    if (value := getattr(event, name, None)) is not None:
        return str(value)
    import json

    text = getattr(event, "text", "")
    return str(json.loads(text).get(name, "")) if text else ""


def _is_before(event: Event, holder: str) -> bool:
    """Whether an event is of a process before the one that holds the run: what stood still then was looked at anew."""
    began = began_utc(holder)
    return bool(began) and event.time_utc[:19] < began[:19]


def locked_by(folder: Path) -> tuple[str, str]:
    """Return which process has the run in hand, or an empty string; and which had it last."""
    try:
        with (folder / LOCK).open("rb") as file:
            said = file.read(200).decode(errors="replace").strip()
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return said or "another process", said
            return "", said
    except FileNotFoundError:
        return "", ""


def began_utc(holder: str) -> str:
    """Return when a process took charge, as its lock says; empty where it says nothing."""
    if (found := _SINCE.search(holder)) is None:
        return ""
    from datetime import UTC

    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S %z").astimezone(UTC).isoformat()


def memory_MB(holder: str) -> tuple[float, float]:
    """Return the memory of a process of this machine, and of it and all it started (shared pages once)."""
    found = _PROCESS.search(holder)
    if found is None or found[2] != socket.gethostname():
        return 0.0, 0.0
    own = _kept_MB(found[1], "Rss")
    return own, own + sum(_kept_MB(pid, "Pss") for pid in _descendants(found[1]))


def _descendants(pid: str) -> list[str]:
    found, waiting = list[str](), [pid]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                some = children.read_text(encoding="ascii").split()
                found += some
                waiting += some
    return found


def _kept_MB(pid: str, name: str) -> float:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return float(line.split()[1]) / KB
    return 0.0


def _machine_MB() -> tuple[float, float]:
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        said = {line.partition(":")[0]: float(line.split()[1]) / KB for line in lines}
        return said["MemAvailable"], said["MemTotal"]
    return 0.0, 0.0


def _disk_GB(folder: Path) -> tuple[float, float]:
    with contextlib.suppress(OSError):
        found = shutil.disk_usage(os.fspath(folder))
        return found.free / 2**30, found.total / 2**30
    return 0.0, 0.0
