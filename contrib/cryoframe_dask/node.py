"""What happens on a node: an order is looked at, claimed, done in a supervised process as on one machine, answered."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cryoframe
from cryoframe import Job, Outcome, Processes
from cryoframe.errors import CryoframeError
from cryoframe_dask import words

#: What a result may depend on, besides the plugin, which the attempt itself compares.
LIBRARIES = ("numpy", "scipy", "numba", "pyarrow")
TICK_S, PROGRESS_S, LOOK_S = 0.1, 1.0, 0.25
ORDER = "attempt.json"
Hear = Callable[[Mapping[str, Any]], None]


class Unfit(Exception):
    """Raised where a node cannot do a job as it is ordered; another may. `missing` is a path that it cannot see."""

    def __init__(self, what: str, *, remedy: str = "", missing: str = "") -> None:
        super().__init__(what)
        self.remedy, self.missing = remedy, missing


class Taken(Exception):
    """Somebody else has, or had, this very attempt; or nobody is to have it any more."""


@cache
def facts() -> dict[str, str]:
    """Return what has to be the same where a run is begun and where its attempts are made."""
    root = Path(cryoframe.__file__).parent
    state = hashlib.blake2b(digest_size=6)
    for path in sorted(root.rglob("*.py")):
        state.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    found = {"cryoframe": f"{cryoframe.__version__} ({state.hexdigest()})"}
    found["python"] = ".".join(map(str, sys.version_info[:2]))
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return in words what is not the same."""
    names = sorted({*there, *here})
    return [
        f"{name} {here.get(name, 'missing')} here, {there.get(name, 'missing')} where the run was begun"
        for name in names
        if there.get(name) != here.get(name)
    ]


@dataclass
class _Waiter:
    """One who waits for an attempt."""

    job: Job
    hear: Hear
    name: str
    ended: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | None = None

    def end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.ended.set()


class Node:
    """The attempts of one Dask worker; one thread alone speaks with the processes."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiters: dict[str, _Waiter] = {}
        self._cancelled: set[str] = set()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._processes: Processes

    def attempt(self, job: Job, hear: Hear) -> Outcome:
        """Make the attempt; returns how it ended."""
        with self._starting:
            if self._thread is None:
                self._processes = Processes(self._hear, folder=_own_folder())
                self._thread = threading.Thread(target=self._work, name="attempts", daemon=True)
                self._thread.start()
        waiter = _Waiter(job, hear, Path(job.folder).name)
        self._orders.put(lambda: self._submit(waiter))
        waiter.ended.wait()
        assert waiter.outcome is not None
        return waiter.outcome

    def cancel(self, name: str) -> None:
        """Stop the attempt in the folder of that name, also if it is yet to come."""
        self._cancelled.add(name)
        self._orders.put(lambda: self._cancel(name))

    def is_cancelled(self, name: str) -> bool:
        """Whether the attempt in that folder is not to be made any more."""
        return name in self._cancelled

    def retire(self, offers: Sequence[Any]) -> None:
        """Let go of imported code."""
        self._orders.put(lambda: self._processes.retire(offers))

    def _submit(self, waiter: _Waiter) -> None:
        try:
            self._waiters[self._processes.submit(waiter.job)] = waiter
        except (CryoframeError, OSError) as error:
            waiter.end(Outcome("", {}, "environment", str(error)))

    def _cancel(self, name: str) -> None:
        for ticket, waiter in self._waiters.items():
            if waiter.name == name:
                self._processes.cancel(ticket)

    def _hear(self, ticket: str, message: Mapping[str, Any]) -> None:
        if ticket in self._waiters:
            self._waiters[ticket].hear(message)

    def _work(self) -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                self._orders.get(block=not self._waiters)()
                while True:
                    self._orders.get_nowait()()
            for outcome in self._processes.poll(TICK_S) if self._waiters else ():
                if (waiter := self._waiters.pop(outcome.ticket, None)) is not None:
                    waiter.end(outcome)


def run(order_text: str) -> str:
    """Do one order; returns the answer as JSON. Never raises for what a plugin, or a disk, does."""
    from distributed import get_worker

    worker = get_worker()
    where = {"node": socket.gethostname(), "worker": str(worker.address)}
    order = json.loads(order_text)
    try:
        if different := differences(order["facts"], facts()):
            raise Unfit(f"other versions: {'; '.join(different)}", remedy="Install the same everywhere.")
        job = Job.from_json(order["job"])
        node = the_node()
        _require_visible(job, order)
        if node.is_cancelled(Path(job.folder).name):
            raise Taken("cancelled")
        return json.dumps(where | _made(node, job, order, where, worker))
    except Unfit as error:
        said = {"refused": str(error), "remedy": error.remedy, "missing": error.missing}
        return json.dumps({**said, "unfit": True, **where})
    except Taken as error:
        return json.dumps({"refused": str(error), "unfit": False, **where})


def the_node() -> Node:
    """Return the node of the worker this is called in."""
    from distributed import get_worker

    node: Node = vars(get_worker()).setdefault("cryoframe_node", Node())
    return node


def cancel(name: str, dask_worker: Any = None) -> None:
    """Stop an attempt, if it is made here; sent to every worker."""
    vars(dask_worker).setdefault("cryoframe_node", Node()).cancel(name)


def retire(jobs: Sequence[str], dask_worker: Any = None) -> None:
    """Let go of the code these jobs use; sent to every worker."""
    node = vars(dask_worker).get("cryoframe_node")
    if node is not None:
        node.retire([Job.from_json(text).offer for text in jobs])


def _made(node: Node, job: Job, order: Mapping[str, Any], where: Mapping[str, str], worker: Any) -> dict[str, Any]:
    metrics: list[Any] = []
    told_s = [0.0]

    def hear(message: Mapping[str, Any]) -> None:
        if "metric" in message:
            metrics.append(message["metric"])
        elif time.monotonic() - told_s[0] >= PROGRESS_S:
            told_s[0] = time.monotonic()
            with contextlib.suppress(Exception):  # progress is dropped rather than waited for
                worker.log_event(order["topic"], {"ticket": order["ticket"], **message})

    if job.describe:
        return {"outcome": asdict(node.attempt(job, hear)), "metrics": metrics}
    place = Path(order["place"])
    facts_of_claim = {**where, "pid": os.getpid(), "ticket": order["ticket"], "likeness": order["likeness"]}
    if not words.claim(place, facts_of_claim):
        first = words.read(place / words.CLAIM) or {}
        raise Taken(f"begun on {first.get('node', 'another node')} ({first.get('worker', '?')}), which was then lost")
    with words.beating(place):
        outcome = node.attempt(job, hear)
        digests = {} if outcome.error_class else _digests(Path(job.folder))
        answer = {"outcome": asdict(outcome), "metrics": metrics, "digests": digests}
        words.land(place, {**where, **answer})
    return answer


def _digests(folder: Path) -> dict[str, tuple[int, str]]:
    """Make what an attempt left durable, and say what it is: others may see it later than the answer."""
    found = {}
    for path in words.files_of(folder, leave_out=ORDER):
        words.make_durable(path)
        found[path.relative_to(folder).as_posix()] = words.digest(path)
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        words.make_durable(inner)
    return found


def _require_visible(job: Job, order: Mapping[str, Any]) -> None:
    """Wait, for a while, until all that the job names can be seen from here.

    Raises
    ------
    Unfit
        Naming what cannot.
    """
    until_s = time.monotonic() + float(order["visible_s"])
    while missing := _invisible(job, order["job"]):
        path, why = missing
        if time.monotonic() >= until_s:
            remedy = "Mount the same share everywhere, under the same path."
            raise Unfit(f"{path} cannot be seen ({why})", remedy=remedy, missing=path)
        time.sleep(LOOK_S)


def _invisible(job: Job, text: str) -> tuple[str, str] | None:
    folder = Path(job.folder)
    try:
        if (folder / ORDER).read_text(encoding="utf-8") != text:
            return job.folder, "another folder of that name"
    except OSError as error:
        return job.folder, f"the run's own: {error.strerror}"
    raw = [file for wanted in job.inputs for file in wanted.raw]
    stored = [name for wanted in job.inputs for name in (*wanted.folders, *(name for name, _ in wanted.updates))]
    named = [job.offer.path, *(offer.path for offer in job.services), job.python]
    for path in [*(file.path for file in raw), *stored, *filter(None, named)]:
        if not Path(path).exists():
            return path, "it is not there"
    for file in raw:
        wanted, size = file.facts.get("file_bytes"), Path(file.path).stat().st_size
        if wanted is not None and size < int(wanted):
            return file.path, f"only {size} of {wanted} bytes"
    return None


def _own_folder() -> Path:
    from distributed import get_worker

    return Path(str(get_worker().local_directory))
