"""Every event class of the kernel and their text form; no delivering (bus) and no keeping (journal) of them.

An event is a fact that has happened. Plugins may define their own by subclassing :class:`Event`.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar, cast, dataclass_transform

from cryoframe.errors import Corrupt, InvalidInput, nearest

Scalar = str | int | float | bool
Value = Scalar | tuple[Scalar, ...] | Mapping[str, Scalar]
#: What the reason begins with where work ended by an error.
FAILED = "failed: "


@dataclass_transform(kw_only_default=True, frozen_default=True)
@dataclass(frozen=True, kw_only=True)
class Event:
    """Header of all events; `event_id` sorts by time, `cause` is the id of the event that led here.

    A subclass becomes a frozen dataclass by itself; its fields are of simple types (:data:`Value`).
    """

    event_id: str
    time_utc: str
    run_id: str
    cause: str = ""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


class FileEvent(Event):
    """Base of what happens to a file; `path` is relative to `root`."""

    path: str
    root: str


class StageEvent(Event):
    """Base of what happens to a stage for an item."""

    stage_id: str
    item_id: str


class RunOpened(Event):
    """A process took charge of the run; tasks left running by an earlier one are interrupted."""

    folder: str
    config_digest: str


class RunFinished(Event):
    """The process in charge ended: in good order, or by an error, and then the reason begins with `FAILED`."""

    reason: str


class OpticsAssumed(Event):
    """Work began with settings of the microscope that the configuration does not state; `names` lists those fields."""

    names: str
    remark: str


class RunPaused(Event):
    """Nothing new is started until :class:`RunResumed`."""

    reason: str


class RunResumed(Event):
    """What paused the run is over."""


class FileSeen(FileEvent):
    """A file showed up under a root, or showed up changed; a `ctime_ns` of 0 is not known."""

    size: int
    mtime_ns: int
    ctime_ns: int = 0


class FileSettled(FileEvent):
    """The file is whole; `digest` is of the bytes that were read, `ctime_ns` (0 = not known) of before that."""

    size: int
    mtime_ns: int
    digest: str
    ctime_ns: int = 0


class FileRejected(FileEvent):
    """The file cannot be used; `kind` names the class of error."""

    reason: str
    kind: str


class FileIgnored(FileEvent):
    """The file's name says that it is not meant for processing."""

    rule: str


class FileDuplicate(FileEvent):
    """The file has the content of an item that is known already."""

    item_id: str


class FileSuperseded(FileEvent):
    """The file's content changed after it had been admitted."""

    old_digest: str
    digest: str


class ItemAdmitted(Event):
    """A unit of work entered the run; `facts` is what its header and the session say of it."""

    item_id: str
    kind: str
    digest: str
    path: str
    facts: dict[str, Scalar]


class StageQueued(StageEvent):
    """A stage is due for an item."""

    key: str


class StageStarted(StageEvent):
    """An attempt began."""

    key: str
    attempt: int
    worker: str
    device: str


class StageProgress(StageEvent):
    """How far an attempt is; told to listeners, never journalled."""

    done: int
    total: int
    message: str


class StageFinished(StageEvent):
    """The product is in the store."""

    key: str
    digest: str
    seconds: float
    cpu_s: float
    peak_MB: float


class StageSkipped(StageEvent):
    """The product was in the store already."""

    key: str
    digest: str
    reason: str


class StageFailed(StageEvent):
    """An attempt failed; `error_class` is file, environment or bug."""

    key: str
    attempt: int
    error_class: str
    message: str
    traceback_file: str


class StageGivenUp(StageEvent):
    """The item is in quarantine for this stage until somebody retries it."""

    key: str
    reason: str


class StageRetried(Event):
    """Somebody asked for a task to be tried anew; its attempts count from zero."""

    stage_id: str
    item_id: str


class ProductSaved(Event):
    """A product has its final place; `path` is relative to the run folder."""

    key: str
    kind: str
    digest: str
    path: str


class ProductDescribed(StageEvent):
    """What a product says of its micrograph: figures by name; pictures below `path` with digests."""

    key: str
    kind: str
    path: str
    figures: dict[str, Scalar]
    pictures: dict[str, Scalar]


class ItemRemarked(Event):
    """Something about an item that a person should look at, such as side-car and configuration that disagree."""

    item_id: str
    remark: str


class ProductDamaged(Event):
    """A stored product is not what was committed."""

    key: str
    path: str
    problem: str


class MetricReported(StageEvent):
    """A stage reported a number."""

    name: str
    value: float
    unit: str


class PluginLoaded(Event):
    """An implementation was imported and kept its contract."""

    hook: str
    name: str
    distribution: str
    version: str


class PluginRefused(Event):
    """An implementation could not be used."""

    hook: str
    name: str
    reason: str


class DeviceResolved(Event):
    """Where a stage will run, and why there."""

    stage_id: str
    asked: str
    got: str
    why: str


class ListenerFailed(Event):
    """A listener raised; the flow went on."""

    failed_event_id: str
    listener: str
    error: str


class ForeignEvent(Event):
    """An event of a class that is not loaded here; `text` is its whole text form."""

    name: str
    text: str


EVENT_NAMES: tuple[str, ...] = tuple(
    name
    for name, cls in list(vars().items())
    if isinstance(cls, type) and issubclass(cls, Event) and cls not in (Event, FileEvent, StageEvent, ForeignEvent)
)
_HEADER = tuple(field.name for field in fields(Event))
E = TypeVar("E", bound=Event)


class Clock:
    """Source of event ids: 16 hexadecimal digits of time [ns], never going back, then 8 random ones.

    Parameters
    ----------
    after
        An id that all ids made here must follow, even if the machine's clock was set back since.
    """

    def __init__(self, after: str = "") -> None:
        self._last_ns = int(after[:16], 16) if after else 0
        self._lock = threading.Lock()

    def next_id(self) -> str:
        """Return a new id, greater than every one before."""
        with self._lock:
            self._last_ns = max(time.time_ns(), self._last_ns + 1)
            return f"{self._last_ns:016x}{secrets.token_hex(4)}"


def new(cls: type[E], run_id: str, cause: str = "", *, event_id: str = "", **payload: Value) -> E:
    """Make an event that happens now.

    Raises
    ------
    InvalidInput
        If a field is unknown, missing or not of a simple type.
    """
    its = [field for field in fields(cls) if field.name not in _HEADER]
    known = [field.name for field in its]
    for name, value in payload.items():
        if name not in known:
            raise InvalidInput(f"{cls.__name__} has no field '{name}'{nearest(name, known)}", expected=", ".join(known))
        if not _is_simple(value):
            raise InvalidInput(
                f"{cls.__name__}.{name} is a {type(value).__name__}",
                expected="text, number, truth value, a tuple of those, or a mapping from text to those",
            )
    if missing := [field.name for field in its if field.default is MISSING and field.name not in payload]:
        raise InvalidInput(f"{cls.__name__} lacks {', '.join(missing)}", expected=", ".join(known))
    event_id = event_id or Clock().next_id()
    moment = datetime.fromtimestamp(int(event_id[:16], 16) / 1e9, UTC)
    header = {"time_utc": moment.isoformat(timespec="microseconds"), "run_id": run_id, "cause": cause}
    return cast(Callable[..., E], cls)(event_id=event_id, **header, **payload)


def to_json(event: Event) -> str:
    """Return the event as one line of JSON."""
    if isinstance(event, ForeignEvent):
        return event.text
    return json.dumps(vars(event), separators=(",", ":"))


def from_json(name: str, text: str) -> Event:
    """Return the event whose class is called `name`; a :class:`ForeignEvent` where that class is not loaded.

    Raises
    ------
    Corrupt
        If the text is not that of such an event.
    """
    try:
        return from_content(name, json.loads(text), text)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"not a {name} event ({error})", expected="JSON with the event's fields") from error


def from_content(name: str, said: Mapping[str, Any], text: str = "") -> Event:
    """Return the event of that name and these fields, as JSON has them; `text` is its text form, if it came as one.

    Raises
    ------
    Corrupt
        If these are not the fields of such an event.
    """
    try:
        content = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
        for cls in _subclasses(Event):
            if cls.__name__ == name:
                return cast(Callable[..., Event], cls)(**content)
        header = {key: str(content[key]) for key in _HEADER}
        return ForeignEvent(**header, name=name, text=text or json.dumps(said, separators=(",", ":")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corrupt(f"not a {name} event ({error})", expected="the event's fields") from error


def _subclasses(cls: type[Event]) -> Iterator[type[Event]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _is_simple(value: object) -> bool:
    if isinstance(value, tuple):
        return all(type(item) in _SCALARS for item in value)
    if isinstance(value, dict):
        return all(type(key) is str and type(item) in _SCALARS for key, item in value.items())
    return type(value) in _SCALARS


_SCALARS = (str, int, float, bool)
