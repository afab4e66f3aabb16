"""Runs each attempt in a process of its own, forked by a warm helper (`zygote`) per interpreter and plugin."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cryoframe.errors import EnvironmentFault
from cryoframe.execution.executor import Executor, Job, Outcome, Voice, mute, outcome_of
from cryoframe.kernel.discovery import Offer

#: Libraries may not start threads where processes are forked; results may not depend on how many BLAS would use.
_SINGLE = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
SHIM = "python-path"
Key = tuple[str, Offer]


@dataclass
class _Zygote:
    """A helper that has one plugin warm, and the attempts it has in hand."""

    control: socket.socket
    jobs: dict[str, Job] = field(default_factory=dict)
    #: Whether it was told to import the plugin, and what the plugin imports only when it is used.
    warm: bool = False
    hot: bool = False
    late: Sequence[str] = ()

    def send(self, order: Mapping[str, object]) -> None:
        with contextlib.suppress(OSError):  # a helper that died is noticed, with its attempts, when it is polled
            self.control.send(json.dumps(order).encode())


@dataclass
class _First:
    """An interpreter's first helper, what it hears, and what it complains of."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    complaints: IO[bytes]

    def last_words(self) -> str:
        self.complaints.seek(0)
        lines = self.complaints.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def end(self) -> None:
        self.control.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.complaints.close()


class Processes:
    """One supervised process per attempt: deadline, memory cap, own session, closed stdin, captured log.

    Parameters
    ----------
    voice
        Hears the attempts' progress and metrics, on the thread that polls.
    folder
        Where links for other interpreters may be put; they are made only for stages that name one.
    """

    def __init__(self, voice: Voice = mute, *, folder: Path | None = None) -> None:
        self._voice, self._folder = voice, folder
        self._zygotes: dict[Key, _Zygote] = {}
        self._first: dict[str, _First] = {}
        self._not_hot: set[Key] = set()
        self._retired: list[Outcome] = []
        self._selector = selectors.DefaultSelector()
        self._n_jobs = 0

    def submit(self, job: Job) -> str:
        """Start an attempt."""
        self._n_jobs += 1
        ticket = f"process-{self._n_jobs}"
        zygote = self._zygote(job)
        zygote.jobs[ticket] = job
        zygote.send({"ticket": ticket, "job": str(job.write())})
        return ticket

    def poll(self, timeout_s: float) -> list[Outcome]:
        """Wait at most `timeout_s` for attempts to end and return those that did."""
        ended, self._retired = self._retired, []
        until_s = time.monotonic() + timeout_s
        while not ended and self._zygotes:
            ready = self._selector.select(max(0.0, until_s - time.monotonic()))
            for key, _ in ready:
                ended += self._hear(key.data)
            if not ready:
                break
        return ended

    def cancel(self, ticket: str) -> None:
        """Ask an attempt to stop: SIGTERM, after a few seconds SIGKILL."""
        for zygote in self._zygotes.values():
            if ticket in zygote.jobs:
                zygote.send({"cancel": ticket})

    def retire(self, offers: Sequence[Offer]) -> None:
        """End the helpers that have these imported, and their attempts with them."""
        for key in [key for key in self._zygotes if key[1] in offers]:
            self._retired += self._end(key)

    def another(self) -> Executor:
        """Return one with helpers of its own."""
        return Processes(folder=self._folder)

    def close(self) -> None:
        """End every attempt and helper."""
        for key in list(self._zygotes):
            self._end(key)
        for first in self._first.values():
            first.end()
        self._first.clear()
        self._selector.close()

    def _zygote(self, job: Job) -> _Zygote:
        key = (job.python or sys.executable, job.offer)
        if key not in self._zygotes:
            parent = self._parent(job)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                try:
                    socket.send_fds(parent, [b"{}"], [theirs.fileno()])
                except OSError:  # it died since; the next one is as good
                    self._first.pop(key[0]).end()
                    socket.send_fds(self._parent(job), [b"{}"], [theirs.fileno()])
            self._zygotes[key] = _Zygote(ours)
            self._selector.register(ours, selectors.EVENT_READ, key)
        return self._zygotes[key]

    def _parent(self, job: Job) -> socket.socket:
        """Return the socket of an interpreter's first helper, started if need be."""
        python = job.python or sys.executable
        environment = os.environ | _SINGLE | {"NUMBA_NUM_THREADS": str(os.cpu_count() or 1)}
        try:
            if job.python:
                offers = [offer for offer in (job.offer, *job.services) if not offer.path]
                tops = [offer.target.partition(":")[0].partition(".")[0] for offer in offers]
                environment["PYTHONPATH"] = self._shim(python, tops)
            if python not in self._first:
                self._first[python] = self._popen(python, environment)
        except OSError as error:
            raise EnvironmentFault(f"interpreter {python} cannot be started ({error.strerror})") from error
        return self._first[python].control

    def _popen(self, python: str, environment: dict[str, str]) -> _First:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        complaints = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the helper lives
        try:
            process = subprocess.Popen(
                [python, "-P", "-m", "cryoframe.execution.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=environment,
                start_new_session=True,
                cwd=self._folder or "/",
            )
        except OSError:
            ours.close()
            complaints.close()
            raise
        finally:
            theirs.close()
        return _First(process, ours, complaints)

    def _shim(self, python: str, tops: Iterable[str]) -> str:
        """Return a path on which another interpreter finds those of our packages that it lacks, and nothing else."""
        probe = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if importlib.util.find_spec(n) is None])"
        wanted = sorted({"cryoframe", *tops})
        found = subprocess.run([python, "-c", probe, *wanted], capture_output=True, text=True, check=False, cwd="/")
        shim = (self._folder or Path.cwd()) / SHIM
        shim.mkdir(parents=True, exist_ok=True)
        for name in found.stdout.split() if found.returncode == 0 else ():
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin:
                origin = Path(spec.origin)
                source = origin.parent if origin.name == "__init__.py" else origin
                link = shim / source.name
                with contextlib.suppress(FileExistsError):
                    link.symlink_to(source)
        return str(shim)

    def _hear(self, key: Key) -> list[Outcome]:
        """Read what a helper has to say: messages of attempts, and which of them ended."""
        zygote = self._zygotes[key]
        ended: list[Outcome] = []
        while True:
            try:
                packet = zygote.control.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return ended
            except ConnectionResetError:
                packet = b""
            if not packet:
                return ended + self._end(key)
            message = json.loads(packet)
            ticket = message.pop("ticket")
            if "modules" in message:
                zygote.late = message["modules"]
            elif "exit" not in message:
                self._voice(ticket, message)
            elif ticket in zygote.jobs:
                job = zygote.jobs.pop(ticket)
                ended.append(_outcome(ticket, job, message))
                self._warm(zygote, job, ended[-1])

    def _warm(self, zygote: _Zygote, job: Job, outcome: Outcome) -> None:
        """Let the helper import the plugin once a description has shown that this does no harm and starts no thread."""
        key = (job.python or sys.executable, job.offer)
        single = outcome.result.get("device") == "cpu" and outcome.result.get("n_os_threads") == 1
        if job.describe and single and not zygote.warm:
            zygote.warm = True
            zygote.send({"preload": job.to_json()})
        elif zygote.warm and zygote.late and not (zygote.hot or outcome.error_class or key in self._not_hot):
            zygote.hot = True
            self._not_hot.add(key)  # once only: if the import starts threads, the helper ends and the next stays cool
            zygote.send({"import": list(zygote.late)})

    def _end(self, key: Key) -> list[Outcome]:
        """Let a helper go; its attempts die with it."""
        zygote = self._zygotes.pop(key)
        self._selector.unregister(zygote.control)
        zygote.control.close()
        words = f" ({key[0]}){self._first[key[0]].last_words()}" if zygote.jobs and key[0] in self._first else ""
        return [
            Outcome(ticket, {}, "environment", f"the helper process of {job.offer.name} died{words}")
            for ticket, job in zygote.jobs.items()
        ]


def _outcome(ticket: str, job: Job, report: dict[str, Any]) -> Outcome:
    spent = (float(report["seconds"]), float(report["cpu_s"]), float(report["peak_MB"]))
    died, why = "", "bug"
    if report["why"] == "cancelled":
        died, why = "cancelled", "environment"
    elif report["why"]:
        died = f"killed: {report['why']}"
    elif report["exit"] < 0:
        died = f"died of signal {-report['exit']}"
    elif report["exit"] > 0:
        died = f"ended by itself with exit status {report['exit']}"
    return outcome_of(ticket, Path(job.folder), died=died, why=why, spent=spent)
