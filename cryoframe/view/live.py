"""A run as it happens: a bar a stage on a terminal, a line an event elsewhere; fed by the bus, changing nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from cryoframe.data.figures import warnings_of
from cryoframe.records import events
from cryoframe.records.events import Event
from cryoframe.records.session_events import RootRemarked
from cryoframe.view.tables import escape

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cryoframe.records.bus import Bus

_HEARD = (
    events.FileSettled, events.FileRejected, events.FileDuplicate, events.FileSuperseded, events.StageQueued,
    events.StageStarted, events.StageProgress, events.StageFinished, events.StageSkipped, events.StageFailed,
    events.StageGivenUp, events.StageRetried, events.RunPaused, events.RunResumed, events.PluginRefused,
    events.DeviceResolved, events.ListenerFailed, events.ItemRemarked, events.ProductDescribed,
    RootRemarked,
)  # fmt: skip


class _View(Protocol):
    def __call__(self, event: Event) -> None:
        """Show an event."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@contextmanager
def live_progress(bus: Bus, *, stream: TextIO | None = None) -> Iterator[None]:
    """Show what a run does while the block lasts.

    Parameters
    ----------
    bus
        Of the run.
    stream
        Standard error when None. On a terminal there is a bar a stage; elsewhere a line for each item that ended.
    """
    target = stream or sys.stderr
    view: _View = Bars(target) if target.isatty() else Lines(target)
    unsubscribe = bus.subscribe(_HEARD, view)
    try:
        yield
    finally:
        unsubscribe()
        view.close()


@dataclass
class Tally:
    """How far one stage is."""

    queued: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    #: item → fraction done of its running attempt.
    running: dict[str, float] = field(default_factory=dict)
    message: str = ""

    @property
    def total(self) -> int:
        """Items the stage has heard of."""
        return len(self.queued | self.ended | self.given_up | set(self.running))

    @property
    def done(self) -> float:
        """Items ended, running ones counted by their fraction."""
        return len(self.ended) + sum(self.running.values())

    def hear(self, event: Event) -> None:
        """Take an event of this stage in."""
        item = getattr(event, "item_id", "")
        if isinstance(event, events.ProductDescribed):
            return
        if isinstance(event, (events.StageQueued, events.StageRetried)):
            self.queued.add(item)
            self.given_up.discard(item)
            self.ended.discard(item)
        elif isinstance(event, events.StageStarted):
            self.running[item] = 0.0
        elif isinstance(event, events.StageProgress):
            self.running[item] = min(event.done / event.total, 1.0) if event.total else 0.0
            self.message = event.message
        else:
            self.running.pop(item, None)
            self._end(item, event)

    def _end(self, item: str, event: Event) -> None:
        if isinstance(event, (events.StageFinished, events.StageSkipped)):
            self.ended.add(item)
            self.message = ""
        elif isinstance(event, events.StageGivenUp):
            self.given_up.add(item)


class Bars:
    """A bar a stage, drawn by rich."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.description:>20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        note = TextColumn("{task.fields[note]}")
        self._progress: Progress = Progress(*text, note, console=Console(file=stream), refresh_per_second=5)
        self._bars: dict[str, TaskID] = {}
        self._tallies: dict[str, Tally] = {}
        self._lock = threading.Lock()
        self._progress.start()

    def __call__(self, event: Event) -> None:
        """Move the bar of the event's stage, or print what is worth a line."""
        with self._lock:
            if (line := _worth_a_line(event)) and not isinstance(event, (events.StageFinished, events.FileSettled)):
                self._progress.print(escape(line))
            stage_id = getattr(event, "stage_id", "")
            if stage_id and not isinstance(event, events.DeviceResolved):
                self._move(stage_id, event)

    def close(self) -> None:
        """Stop drawing."""
        self._progress.stop()

    def _move(self, stage_id: str, event: Event) -> None:
        tally = self._tallies.setdefault(stage_id, Tally())
        tally.hear(event)
        if stage_id not in self._bars:
            self._bars[stage_id] = self._progress.add_task(escape(stage_id), note="")
        failed = f"{len(tally.given_up)} given up " if tally.given_up else ""
        note = escape(failed + tally.message)
        self._progress.update(self._bars[stage_id], completed=tally.done, total=max(tally.total, 1), note=note)


class Lines:
    """A line for each thing that ended, failed or was refused."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it is worth one."""
        if line := _worth_a_line(event):
            self._stream.write(f"{event.time_utc[11:19]} {line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is out."""


def _worth_a_line(event: Event) -> str:
    for cls, words in _WORDS.items():
        if isinstance(event, cls):
            return words(event)
    return ""


_WORDS: dict[type[Event], Callable[..., str]] = {
    events.FileSettled: lambda e: f"{e.path}: complete",
    events.FileRejected: lambda e: f"{e.path}: refused ({e.kind}): {e.reason}",
    events.FileDuplicate: lambda e: f"{e.path}: same content as {e.item_id}; nothing to do",
    events.FileSuperseded: lambda e: f"{e.path}: content changed; it is done anew",
    events.StageFinished: lambda e: f"{e.stage_id} {e.item_id}: done in {e.seconds:.1f} s",
    events.StageFailed: lambda e: (
        f"{e.stage_id} {e.item_id}: attempt {e.attempt} failed ({e.error_class}): {e.message}"
    ),
    events.StageGivenUp: lambda e: f"{e.stage_id} {e.item_id}: given up: {e.reason}",
    events.ItemRemarked: lambda e: f"{e.item_id}: {e.remark}",
    RootRemarked: lambda e: f"{e.root}: {e.remark}",
    events.ProductDescribed: lambda e: f"{e.item_id}: {said}" if (said := "; ".join(warnings_of(e.figures))) else "",
    events.RunPaused: lambda e: f"paused: {e.reason}",
    events.RunResumed: lambda _: "goes on",
    events.PluginRefused: lambda e: f"plugin {e.name} for {e.hook} refused: {e.reason}",
    events.ListenerFailed: lambda e: f"listener {e.listener} failed: {e.error}",
}
