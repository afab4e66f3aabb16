"""What an attempt is (`Job`), what comes of it (`Outcome`), and the executor that runs it in this process."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from cryoframe.kernel.discovery import Offer

RESULT, LOG, TRACEBACK, JOB = "result.json", "log.txt", "traceback.txt", "attempt.json"
#: Facts by which a file is known to be still the one that was admitted; they do not enter a key.
IDENTITY = ("file_bytes", "mtime_ns")
#: Called with a ticket and a message of the attempt: ``{"progress": …}`` or ``{"metric": …}``.
Voice = Callable[[str, Mapping[str, Any]], None]
#: Seconds, CPU seconds, peak MB.
Spent = tuple[float, float, float]


def mute(_: str, __: Mapping[str, Any]) -> None:
    """Drop a message."""


@dataclass(frozen=True)
class RawFile:
    """A user's own file as an attempt needs to know it."""

    item_id: str
    path: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class InputRef:
    """Where one argument of a stage comes from: folders of stored products, or the user's files; never the bytes.

    Parameters
    ----------
    name, kind
        Argument and class of product.
    folders
        Stored products in the order of their items; more than one are joined (or handed over as a sequence).
    field
        Which part of the stored product is meant, empty for the whole.
    raw
        User's files, in the order of their items.
    many
        Hand over a sequence.
    updates
        (folder, field) of particle tables laid over a stack, in order: changed columns in, missing rows out.
    """

    name: str
    kind: str
    folders: tuple[str, ...] = ()
    field: str = ""
    raw: tuple[RawFile, ...] = ()
    many: bool = False
    updates: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Job:
    """One attempt of one stage on one item, as plain values: it can be written down and read by another interpreter.

    `describe` asks only what the plugin is; nothing is run. `folder` is the attempt's own; the product goes into its
    ``product``. `memory_MB` and `deadline_s` are limits, 0 = none. `python` is another interpreter, or empty.
    """

    stage_id: str
    offer: Offer
    folder: str
    describe: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputRef, ...] = ()
    item_id: str = ""
    item_digest: str = ""
    seed: int = 0
    n_threads: int = 1
    device: str = "cpu"
    deadline_s: float = 0.0
    memory_MB: float = 0.0
    python: str = ""
    base: str = ""
    services: tuple[Offer, ...] = ()

    def write(self) -> Path:
        """Write the job into its folder."""
        path = Path(self.folder) / JOB
        path.write_text(self.to_json(), encoding="utf-8")
        return path

    def to_json(self) -> str:
        """Return the job as JSON text."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that :meth:`to_json` wrote."""
        content = json.loads(text)
        content["offer"] = Offer(**content["offer"])
        content["services"] = tuple(Offer(**offer) for offer in content["services"])
        content["inputs"] = tuple(_input(entry) for entry in content["inputs"])
        return cls(**content)


def _input(entry: dict[str, Any]) -> InputRef:
    raw = tuple(RawFile(**file) for file in entry.pop("raw"))
    updates = tuple((folder, part) for folder, part in entry.pop("updates"))
    return InputRef(raw=raw, updates=updates, **(entry | {"folders": tuple(entry["folders"])}))


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended; `error_class` is empty on success, else file, environment, bug or user."""

    ticket: str
    result: Mapping[str, Any]
    error_class: str = ""
    message: str = ""
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_MB: float = 0.0


class Executor(Protocol):
    """Runs attempts; never raises for what a plugin does."""

    def submit(self, job: Job) -> str:
        """Start an attempt and return its ticket."""

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Wait at most `timeout_s` for attempts to end and return those that did."""

    def cancel(self, ticket: str) -> None:
        """Ask an attempt to stop; it ends as an outcome of class environment."""

    def retire(self, offers: Sequence[Offer]) -> None:
        """Let go of code that was imported for these; attempts that run it end as outcomes of class environment."""

    def close(self) -> None:
        """End every attempt and every helper process."""


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

    def close(self) -> None:
        """Do nothing."""
