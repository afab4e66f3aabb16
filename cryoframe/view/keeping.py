"""Keeps the table of exposures, and the page of it, current in the run folder while a run is at work. Decides nothing.

The files are a convenience: the log has everything, and `cryoframe status --table` makes them from it at any time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryoframe.errors import CryoframeError
from cryoframe.execution import exposures
from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import Event
from cryoframe.records.state import State
from cryoframe.view.exposures import PAGE, page

DATABASE = "state.sqlite"
#: Least time between two writings; a large table is written more rarely, for a small share of one core.
GAP_S, SHARE = 5.0, 0.02
RELOAD_S = 15
_HEARD = (
    events.ItemAdmitted, events.FileRejected, events.ProductDescribed, events.ItemRemarked, events.StageGivenUp,
    events.StageRetried, events.StageFinished, events.StageSkipped,
)  # fmt: skip


@contextmanager
def kept_current(bus: Bus, folder: Path, *, gap_s: float = GAP_S) -> Iterator[None]:
    """Write table and page anew, soon after something has changed, while the block lasts and at its end.

    Parameters
    ----------
    bus
        Of the run.
    folder
        Of the run.
    gap_s
        Least time between two writings.
    """
    keeper = _Keeper(bus, folder, gap_s)
    unsubscribe = bus.subscribe(_HEARD, keeper)
    try:
        yield
    finally:
        unsubscribe()
        keeper.close()


class _Keeper:
    """A thread that reads by a connection of its own, so that nobody waits for it."""

    def __init__(self, bus: Bus, folder: Path, gap_s: float) -> None:
        self._bus, self._folder, self._gap_s = bus, folder, gap_s
        self._changed, self._ended = threading.Event(), threading.Event()
        self._complaint = ""
        self._database: Database | None = None
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
            start_s = time.monotonic()
            self._write()
            if last:
                self._forget()
                return
            self._ended.wait(max(self._gap_s, (time.monotonic() - start_s) / SHARE))

    def _write(self) -> None:
        try:
            self._database = self._database or Database.open(self._folder / DATABASE, read_only=True)
            table = exposures.write(State(self._database), self._folder / exposures.TABLE)
            part = self._folder / f".{PAGE}.{os.getpid()}.part"
            part.write_text(page(self._bus.run_id, table, reload_s=RELOAD_S), encoding="utf-8")
            part.replace(self._folder / PAGE)
        except (CryoframeError, OSError) as error:  # a full disk passes; the work goes on, and the table is made again
            self._forget()
            self._complain(f"{type(error).__name__}: {error}")

    def _forget(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _complain(self, error: str) -> None:
        if error == self._complaint:
            return
        self._complaint = error
        try:
            self._bus.publish(events.ListenerFailed, failed_event_id="", listener="table of exposures", error=error)
        except CryoframeError:
            return  # the journal cannot write either, and whoever waits for it says so
