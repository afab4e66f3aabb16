"""What people ask of a run that a process has in hand: pause, resume, cancel, retry, reload; how it is obeyed.

A request is a file in the run folder's ``requests``, put there whole by renaming. The process in charge looks for it
between two steps, journals what it does, and leaves an answer. So the database keeps its one writer, nothing listens
that could be attacked or be left over, who may ask is who may write the folder (0700), and a request survives the
process that was to obey it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryoframe.errors import CryoframeError, EnvironmentFault
from cryoframe.records.crash import buggify

FOLDER, REQUEST, ANSWER = "requests", ".request", ".answer"
VERBS = ("pause", "resume", "cancel", "retry", "reload")
LOOK_S = 0.25


@dataclass(frozen=True)
class Request:
    """One request; `holder` is who was in charge when it was made."""

    verb: str
    who: str
    holder: str = ""
    stage_id: str = ""
    item_id: str = ""


def ask(folder: Path, request: Request) -> Path:
    """Leave a request; returns where the answer will be.

    Raises
    ------
    EnvironmentFault
        If the folder cannot be written.
    """
    place = folder / FOLDER
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        stem = f"{time.time_ns():019d}-{os.getpid()}"
        part = place / f"{stem}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps(vars(request)))
            file.flush()
            os.fsync(file.fileno())
        part.rename(place / f"{stem}{REQUEST}")
    except OSError as error:
        raise EnvironmentFault(f"no request can be left in {place} ({error.strerror})") from error
    return place / f"{stem}{ANSWER}"


def answer(path: Path, timeout_s: float) -> tuple[bool, str] | None:
    """Wait for an answer and take it away; None if there is none in time."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        with suppress(FileNotFoundError, ValueError, KeyError):
            said = json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
            return bool(said["ok"]), str(said["said"])
        time.sleep(0.05)
    return None


class Desk:
    """The obeying side.

    Parameters
    ----------
    folder
        The run folder.
    holder
        What the lock says of this process: a request to end another one is not for it.
    obey
        Does what a request says, and returns what to answer.
    """

    def __init__(self, folder: Path, holder: str, obey: Mapping[str, Callable[[Request], str]]) -> None:
        self._place, self._holder, self._obey = folder / FOLDER, holder, obey
        self._next_s = 0.0

    def look(self) -> None:
        """Obey what was asked since the last call; costs nothing more often than every quarter of a second."""
        if time.monotonic() < self._next_s or buggify("control.look"):
            return
        self._next_s = time.monotonic() + LOOK_S
        for path in self._requests():
            request = _read(path)
            # Gone before it is obeyed: a process that dies of a request must not hand it on to the next.
            path.unlink(missing_ok=True)
            if request is None or (request.verb == "cancel" and request.holder != self._holder):
                continue
            ok, said = self._do(request)
            part = path.with_suffix(".part")
            with suppress(OSError):
                part.write_text(json.dumps({"ok": ok, "said": said}), encoding="utf-8")
                part.rename(path.with_suffix(ANSWER))

    def _requests(self) -> list[Path]:
        try:
            return sorted(self._place.glob(f"*{REQUEST}"))
        except OSError:
            return []

    def _do(self, request: Request) -> tuple[bool, str]:
        try:
            return True, self._obey[request.verb](request)
        except EnvironmentFault:
            raise
        except CryoframeError as error:
            return False, str(error)


def _read(path: Path) -> Request | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {name: str(content.get(name, "")) for name in ("verb", "who", "holder", "stage_id", "item_id")}
    except (OSError, ValueError, AttributeError):
        return None
    return Request(**known) if known["verb"] in VERBS else None


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield answers nobody took and requests that were never whole."""
    for pattern in (f"*{ANSWER}", "*.part"):
        yield from (folder / FOLDER).glob(pattern)
