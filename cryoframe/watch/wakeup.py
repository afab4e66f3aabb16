"""A flag that rises when something may have landed. A hint only: nothing depends on its rising.

Kernel events are lost in bursts, on shares, past limits; the rescan finds what they miss. In a burst they tell nothing
that is not known and cost more than the rescan, so nobody listens for a while. The one door to watchdog.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from cryoframe.records.database import NETWORK_FILE_SYSTEMS, file_system

_HINTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
#: So many hints at this rate are a burst.
BURST, BURST_1_S = 200, 100.0
#: For so long nobody listens then, and for so many times what it takes to begin again.
REST_S, RESTS = 10.0, 50.0


class _Raise(FileSystemEventHandler):
    """Does nothing but raise the flag and count: what fails here would end the observer."""

    def __init__(self, flag: threading.Event) -> None:
        self._flag = flag
        self.n_hints = 0

    def on_any_event(self, event: FileSystemEvent) -> None:
        del event
        self.n_hints += 1
        self._flag.set()


class Wakeup:
    """Waits for hints.

    Parameters
    ----------
    folders
        Roots to be watched.
    mode
        ``native``, ``polling`` (no hints, only the regular rescan), or ``auto``: native where the file system is local.
    clock
        Tells seconds that only go forwards.
    """

    def __init__(self, folders: Iterable[Path], mode: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._flag, self._clock = threading.Event(), clock
        self._hear = _Raise(self._flag)
        self._tended_s, self._rest_until_s, self._start_took_s = clock(), 0.0, 0.0
        self._folders = [folder for folder in folders if mode == "native" or (mode == "auto" and _is_local(folder))]
        self._observer: BaseObserver | None = None
        #: Why there are no hints, if there are none.
        self.note = "" if self._folders else "polling only"

    def tend(self) -> None:
        """Start the observer, or start it anew if it died or a root came back; let it rest in a burst."""
        alive = self._observer is not None and all(
            thread.is_alive() for thread in (self._observer, *self._observer.emitters)
        )
        if self._is_burst() and alive:
            self.close()
            self._rest_until_s = self._clock() + max(REST_S, RESTS * self._start_took_s)
        if (alive and self._observer is not None) or not self._folders or self.is_resting:
            return
        start_s = self._clock()
        self.close()
        self._start()
        self._start_took_s = self._clock() - start_s

    @property
    def is_resting(self) -> bool:
        """Whether nobody listens, because hints came by the hundred."""
        return self._clock() < self._rest_until_s

    def _is_burst(self) -> bool:
        """Whether so many hints have come since this was last asked."""
        now_s, n_hints = self._clock(), self._hear.n_hints
        self._hear.n_hints, passed_s, self._tended_s = 0, now_s - self._tended_s, now_s
        return n_hints >= BURST and n_hints >= BURST_1_S * passed_s

    def _start(self) -> None:
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            for folder in self._folders:
                observer.schedule(self._hear, os.fspath(folder), recursive=True, event_filter=_HINTS)
            observer.start()
        except (OSError, RuntimeError) as error:
            self.note = f"polling only ({error})"
            if observer is not None:
                with contextlib.suppress(RuntimeError):
                    observer.unschedule_all()
            return
        self._observer = observer
        n_folders, n_watches = sum(1 for folder in self._folders for _ in os.walk(folder)), _n_watches()
        few = 0 < n_watches < n_folders
        self.note = f"{n_watches} of {n_folders} folders give hints (limit of watches)" if few else ""

    def wait(self, timeout_s: float) -> bool:
        """Return at a hint, at once if there was one since the last call, or after `timeout_s`.

        In a burst there is a hint at any time, heard or not.
        """
        woken = self._flag.wait(timeout_s)
        self._flag.clear()
        return woken or self.is_resting

    def wake(self) -> None:
        """Raise the flag."""
        self._flag.set()

    def close(self) -> None:
        """Stop watching."""
        observer, self._observer = self._observer, None
        if observer is not None:
            with contextlib.suppress(RuntimeError, OSError):
                observer.stop()
                observer.join(2.0)


def _n_watches() -> int:
    """Return how many folders the kernel watches for this process: what is past its limit is left out in silence."""
    n_watches, descriptors = 0, Path("/proc/self/fdinfo")
    for entry in descriptors.iterdir() if descriptors.is_dir() else ():
        with contextlib.suppress(OSError):  # closed since it was listed
            n_watches += entry.read_text(encoding="ascii").count("inotify wd:")
    return n_watches


def _is_local(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        kind, _ = file_system(
            folder.resolve(), Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        )
        return kind not in NETWORK_FILE_SYSTEMS and not kind.startswith("fuse.")
    return False
