"""What an attempt is (`Job`), what comes of it (`Outcome`), and who can run it (`Executor`). Runs nothing.

An executor of a plugin (hook ``make_executor``) may do attempts on other machines. Each attempt has a folder of its
own, which no other attempt ever gets: whoever comes late, or twice, finds another's folder or none. What an executor
reports by a ticket that nobody holds any more is dropped. So attempts may be made twice, and take effect once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryoframe.kernel.discovery import Offer

#: Executors that are always there, without discovery.
BUILT_IN_EXECUTORS = ("inline", "processes")
#: Folder beside ``scratch`` where those who do attempts on other machines leave word of them, each in a folder with the
#: name of the attempt's scratch folder. As long as it is there, that scratch folder is the executor's to remove.
ELSEWHERE = "elsewhere"
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

    `describe` asks only what the plugin is; nothing is run. `summary` asks for figures and pictures too. `folder` is
    the attempt's own; the product goes into its ``product``. `memory_MB` and `deadline_s` are limits, 0 = none.
    `python` is another interpreter, or empty. `source` is the digest of the plugin's code as the run knows it, or "".
    `checkpoint` is a folder that outlives the attempt, or "".
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
    source: str = ""
    summary: bool = False
    checkpoint: str = ""

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

    def another(self) -> Executor:
        """Return an executor on the same means, with nothing in hand; who asks closes it."""

    def close(self) -> None:
        """End every attempt and every helper process."""


@dataclass(frozen=True)
class ExecutorRequest:
    """What an executor is asked for.

    Parameters
    ----------
    folder
        The run's, of this machine.
    scratch, elsewhere
        Where the attempts' folders are, and :data:`ELSEWHERE`, as other machines know them. Files of the executor
        itself may go beside them, into a folder that is called as the executor.
    voice
        Hears progress and metrics of attempts, on the thread that polls.
    n_attempts
        Attempts at a time.
    settings
        What ``[executor]`` of the configuration says: the ``Params`` of your module, if it has one.
    """

    folder: Path
    scratch: Path
    elsewhere: Path
    voice: Voice
    n_attempts: int = 1
    settings: object = None
