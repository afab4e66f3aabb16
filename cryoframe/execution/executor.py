"""Reads what an attempt left behind, and the executor that runs attempts in this process."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from cryoframe.kernel.attempt import (
    IDENTITY,
    JOB,
    LOG,
    RESULT,
    TRACEBACK,
    Executor,
    InputRef,
    Job,
    Outcome,
    RawFile,
    Spent,
    Voice,
    mute,
)
from cryoframe.kernel.discovery import Offer

__all__ = [
    "IDENTITY",
    "JOB",
    "LOG",
    "RESULT",
    "TRACEBACK",
    "Executor",
    "Inline",
    "InputRef",
    "Job",
    "Outcome",
    "RawFile",
    "Spent",
    "Voice",
    "mute",
    "outcome_of",
]


def outcome_of(
    ticket: str, folder: Path, *, died: str = "", why: str = "bug", spent: Spent = (0.0, 0.0, 0.0)
) -> Outcome:
    """Read what an attempt left behind; an attempt that left no result, or was killed, has failed as `died` says."""
    result: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    if died or "ok" not in result:
        return Outcome(ticket, {}, why, died or "ended without a result", *spent)
    if not result["ok"]:
        return Outcome(ticket, result, result["error_class"], result["message"], *spent)
    return Outcome(ticket, result, "", "", *spent)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the command and not the attempt alone, whatever the attempt makes of the exception.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, if the signal came during it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


class Inline:
    """Runs each attempt at once in this process; no deadline, no memory limit, and a crash takes the process along.

    For debugging, for small runs, and for plain ``cryoframe stage``, which starts sooner so; its ``--isolate`` and
    ``--timeout`` choose a process apart.
    """

    def __init__(self, voice: Voice = mute) -> None:
        self._voice = voice
        self._ended: list[Outcome] = []
        self._said: list[tuple[str, Mapping[str, Any]]] = []
        self._n_jobs = 0

    def submit(self, job: Job) -> str:
        """Run the attempt to its end."""
        from cryoframe.execution import worker

        self._n_jobs += 1
        ticket, folder = f"inline-{self._n_jobs}", Path(job.folder)
        job.write()
        start, cpu = time.monotonic(), time.process_time()
        with (
            _interruptible(),
            (folder / LOG).open("a", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
        ):
            worker.attempt(job, lambda message: self._said.append((ticket, message)))
        peak_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        spent = (time.monotonic() - start, time.process_time() - cpu, peak_MB)
        self._ended.append(outcome_of(ticket, folder, spent=spent))
        return ticket

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Return what has ended since the last call, after passing on what it said."""
        del timeout_s
        said, self._said = self._said, []
        for ticket, message in said:
            self._voice(ticket, message)
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, ticket: str) -> None:
        """Do nothing: an inline attempt has ended before anyone can ask."""

    def retire(self, offers: Sequence[Offer]) -> None:
        """Have these imported anew when they are next used."""
        for offer in offers:
            top = offer.target.partition(":")[0].partition(".")[0]
            for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
                del sys.modules[name]

    def another(self) -> Executor:
        """Return one more."""
        return Inline()

    def close(self) -> None:
        """Do nothing."""
