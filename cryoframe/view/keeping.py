"""Keeps the table of exposures, and the page of it, current in the run folder while a run is at work. Decides nothing.

The files are a convenience: the log has everything, and `cryoframe status --table` makes them from it at any time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryoframe.errors import CryoframeError
from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import Event

DATABASE = "state.sqlite"
#: Least time between two writings; a large table is written more rarely, for a small share of one core's work. What
#: counts is the work: on a busy machine the time it takes says how long others had the core.
GAP_S, SHARE = 5.0, 0.04
RELOAD_S = 15
#: A writing that takes longer has hung; the next one is another process.
DEADLINE_S = 300.0
_HEARD = (
    events.ItemAdmitted, events.FileRejected, events.ProductDescribed, events.ItemRemarked, events.StageGivenUp,
    events.StageRetried, events.StageFinished, events.StageSkipped,
)  # fmt: skip


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
        Write in a process of its own each time: what works for days does not grow by what tables need.
    """
    keeper = _Keeper(bus, folder, gap_s, written_apart if apart else _written_here)
    unsubscribe = bus.subscribe(_HEARD, keeper)
    try:
        yield
    finally:
        unsubscribe()
        keeper.close()


class _Keeper:
    """A thread that reads by a connection of its own, so that nobody waits for it."""

    def __init__(self, bus: Bus, folder: Path, gap_s: float, write: Callable[[str, Path], tuple[str, float]]) -> None:
        self._bus, self._folder, self._gap_s, self._write = bus, folder, gap_s, write
        self._changed, self._ended = threading.Event(), threading.Event()
        self._complaint = ""
        self._changed.set()  # what an earlier process left behind may be out of date
        self._thread = threading.Thread(target=self._work, name="exposures", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Note that something changed."""
        self._changed.set()

    def close(self) -> None:
        """Write once more, and end."""
        self._ended.set()
        self._changed.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._changed.wait()
            last = self._ended.is_set()
            self._changed.clear()
            error, cpu_s = self._write(self._bus.run_id, self._folder)
            self._complain(error)
            if last:
                return
            self._ended.wait(max(self._gap_s, cpu_s / SHARE))

    def _complain(self, error: str) -> None:
        told, self._complaint = self._complaint, error
        if error in ("", told):
            return
        try:
            self._bus.publish(events.ListenerFailed, failed_event_id="", listener="table of exposures", error=error)
        except CryoframeError:
            return  # the journal cannot write either, and whoever waits for it says so


def written(run_id: str, folder: Path) -> str:
    """Write table and page; return what went wrong: a full disk passes, the work goes on, and they are made again."""
    from cryoframe.execution import exposures
    from cryoframe.records.state import State
    from cryoframe.view.exposures import PAGE, page

    try:
        database = Database.open(folder / DATABASE, read_only=True)
        try:
            table = exposures.write(State(database), folder / exposures.TABLE)
        finally:
            database.close()
        part = folder / f".{PAGE}.{os.getpid()}.part"
        part.write_text(page(run_id, table, reload_s=RELOAD_S), encoding="utf-8")
        part.replace(folder / PAGE)
    except OSError as error:  # the name of the unfinished file is another each time; the cause is said once
        return f"{type(error).__name__}: {error.strerror}: {folder}"
    except CryoframeError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _written_here(run_id: str, folder: Path) -> tuple[str, float]:
    start_s = time.thread_time()
    return written(run_id, folder), time.thread_time() - start_s


def written_apart(run_id: str, folder: Path) -> tuple[str, float]:
    """As :func:`written`, by a process of its own; and the CPU time it took [s], nothing when it did not end well."""
    command = [sys.executable, "-P", "-m", __name__, run_id, str(folder)]
    try:
        done = subprocess.run(  # in a session of its own: Ctrl-C is the daemon's, which has it write once more
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}", 0.0
    return (done.stderr.strip()[-500:], 0.0) if done.returncode else ("", float(done.stdout))


def _apart(run_id: str, folder: str) -> str | None:
    complaint = written(run_id, Path(folder))
    sys.stdout.write(str(time.process_time()))
    return complaint or None


if __name__ == "__main__":
    sys.exit(_apart(*sys.argv[1:]))
