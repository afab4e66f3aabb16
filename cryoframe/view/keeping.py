"""Keeps the table of exposures, and the page of the session, current in the run folder while a run is at work.

The files are a convenience: the log has everything, and `cryoframe status --table` makes them from it at any time. For
a session of days a process apart makes them, which is asked for each writing and begun again when it is lost. Decides
nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryoframe.errors import CryoframeError
from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.events import Event

if TYPE_CHECKING:
    from cryoframe.view.upkeep import Upkeep

#: Least time between two writings; large tables are made more rarely, for a small share of one core's work. What
#: counts is the work: on a busy machine the time it takes says how long others had the core.
GAP_S, SHARE = 5.0, 0.012
#: The page is written so often even where nothing happens, so that who reads it sees that somebody is at work.
BEAT_S = 60.0
#: A writing that takes longer has hung; the next one is another process.
DEADLINE_S = 300.0
#: A process apart makes room for the next after so many writings: it must not grow over weeks.
MOST_WRITINGS = 2000
#: Words to the process apart.
AGAIN, LAST, BROKEN = "again", "last", "broken"
#: Said by others too often, or because of us.
_NO_NEWS = (events.StageProgress, events.ListenerFailed)


class Written(NamedTuple):
    """What came of a writing: what went wrong, the CPU time it took, and after how long what was put off is due [s]."""

    error: str
    cpu_s: float = 0.0
    due_s: float = BEAT_S


class _Writer(Protocol):
    def write(self, word: str) -> Written:
        """Write table and page."""


@contextmanager
def kept_current(bus: Bus, folder: Path, *, gap_s: float = GAP_S, apart: bool = False) -> Iterator[None]:
    """Write table and page anew, soon after something has changed, while the block lasts and at its end.

    Parameters
    ----------
    bus
        Of the run.
    folder
        Of the run.
    gap_s
        Least time between two writings.
    apart
        Write in a process of its own: what works for days does not grow by what tables need.
    """
    writer: _Writer = Apart(bus.run_id, folder) if apart else _Here(bus.run_id, folder)
    keeper = _Keeper(bus, gap_s, writer)
    unsubscribe = bus.subscribe(Event, keeper)
    last = LAST
    try:
        yield
    except Exception:
        last = BROKEN
        raise
    finally:
        unsubscribe()
        keeper.close(last)


class _Keeper:
    """A thread that reads by a connection of its own, so that nobody waits for it."""

    def __init__(self, bus: Bus, gap_s: float, writer: _Writer) -> None:
        self._bus, self._gap_s, self._writer = bus, gap_s, writer
        self._changed, self._ended = threading.Event(), threading.Event()
        self._complaint, self._last = "", LAST
        self._changed.set()  # what an earlier process left behind may be out of date
        self._thread = threading.Thread(target=self._work, name="exposures", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Note that something changed."""
        if not isinstance(event, _NO_NEWS):
            self._changed.set()

    def close(self, last: str = LAST) -> None:
        """Write once more, and end."""
        self._last = last
        self._ended.set()
        self._changed.set()
        self._thread.join()

    def _work(self) -> None:
        due_s = BEAT_S
        while True:
            self._changed.wait(due_s)
            last = self._ended.is_set()
            self._changed.clear()
            written = self._writer.write(self._last if last else AGAIN)
            self._complain(written.error)
            if last:
                return
            rest_s = min(max(self._gap_s, written.cpu_s / SHARE), BEAT_S)
            due_s = max(0.0, min(written.due_s, BEAT_S) - rest_s)
            self._ended.wait(rest_s)

    def _complain(self, error: str) -> None:
        told, self._complaint = self._complaint, error
        if error in ("", told):
            return
        try:
            self._bus.publish(events.ListenerFailed, failed_event_id="", listener="table of exposures", error=error)
        except CryoframeError:
            return  # the journal cannot write either, and whoever waits for it says so


class _Here:
    """Writes in this process."""

    def __init__(self, run_id: str, folder: Path) -> None:
        self._run_id, self._folder = run_id, folder
        self._upkeep: Upkeep | None = None

    def write(self, word: str) -> Written:
        """Write; the CPU time is that of the calling thread."""
        start_s = time.thread_time()
        if self._upkeep is None:
            from cryoframe.view.upkeep import Upkeep

            self._upkeep = Upkeep(self._run_id, self._folder)
        error = self._upkeep.write(ended=word == LAST, lost=word == BROKEN)
        return Written(error, time.thread_time() - start_s, self._upkeep.due_s)


class Apart:
    """Has a process of its own write, and begins another when it is lost.

    Parameters
    ----------
    run_id
        Of the run.
    folder
        Of the run.
    """

    def __init__(self, run_id: str, folder: Path) -> None:
        self._run_id, self._folder = run_id, folder
        self._process: subprocess.Popen[str] | None = None
        self._n_writings = 0

    def write(self, word: str) -> Written:
        """Ask for a writing; one that is lost in it is asked of another process, once."""
        written = self._asked(word)
        if written.error and self._process is None:
            written = self._asked(word)
        if word != AGAIN:
            self._end()
        return written

    def _asked(self, word: str) -> Written:
        """Return what it answers; a process that does not is gone afterwards."""
        if self._n_writings >= MOST_WRITINGS or (self._process is not None and self._process.poll() is not None):
            self._end()
        try:
            written = self._said(self._process or self._begun(), word)
        except (OSError, ValueError, TypeError) as fault:
            self._end()
            return Written(f"the process that writes it was lost ({type(fault).__name__}: {fault})")
        self._n_writings += 1
        return written

    def _begun(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "cryoframe.view.upkeep", self._run_id, str(self._folder)]
        environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # the one that gives memory back
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        # In a session of its own: Ctrl-C is the daemon's, which has it write once more.
        self._process = subprocess.Popen(command, text=True, start_new_session=True, env=environment, **pipes)  # type: ignore[call-overload]
        self._n_writings = 0
        assert self._process is not None
        return self._process

    @staticmethod
    def _said(process: subprocess.Popen[str], word: str) -> Written:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(word + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], DEADLINE_S)[0]:
            raise TimeoutError(f"no answer within {DEADLINE_S:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise BrokenPipeError("it ended")
        return Written(**json.loads(line))

    def _end(self) -> None:
        """End the process: one that answers ends by itself once it was told so, any other has no say."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
