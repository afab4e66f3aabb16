"""The other end of `processes`: a warm interpreter that forks one process per attempt, watches it and buries it.

Started as ``python -m cryoframe.execution.zygote FD``; FD is a socket that carries one JSON message a packet. The first
process only forks others like itself, one for each plugin, which import that plugin and fork its attempts. All stay
single-threaded, so that forking is safe, and die with the runner, taking every attempt and its children along.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoframe.errors import Cancelled
from cryoframe.execution import worker
from cryoframe.execution.executor import LOG, Job
from cryoframe.kernel.device import limit_threads
from cryoframe.kernel.plugins import Plugins

GRACE_S, TICK_S = 5.0, 0.1
MAX_LOG_BYTES = 16 << 20
MAX_MODULES = 1000
#: Allocators reserve address space they never touch; the limit on it is this much wider than the memory cap.
RESERVED_MB = 2048
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass
class _Attempt:
    ticket: str
    job: Job
    start_s: float
    why: str = ""
    kill_at_s: float = 0.0
    peak_MB: float = 0.0


def serve(control: socket.socket) -> None:
    """Take orders until the runner is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    bell, ring = os.pipe()
    for end in (bell, ring):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to understand
    running: dict[int, _Attempt] = {}
    helpers: set[int] = set()
    warm: list[Plugins] = []
    heard = [control.fileno(), bell]
    gc.freeze()
    while True:
        ready, _, _ = select.select(heard, [], [], TICK_S if running else None)
        if control.fileno() in ready and not _order(control, running, helpers, warm):
            break
        if bell in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(bell, 4096)
        for pid in list(running):
            _watch(pid, running[pid])
        _bury(control, running, helpers)
    _end(helpers)


def _end(helpers: set[int]) -> None:
    """End all attempts and all they left behind: what is forked while others are killed comes here, and goes too.

    The helpers end by themselves, since the runner is gone for them as well, and so do their attempts before them.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            for child in _children(os.getpid()):
                if child not in helpers:
                    _kill(child)
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(TICK_S / 10)


def _order(control: socket.socket, running: dict[int, _Attempt], helpers: set[int], warm: list[Plugins]) -> bool:
    """Do one thing the runner asks for; False when it is gone."""
    packet, sockets, _, _ = socket.recv_fds(control, 1 << 16, 1)
    if not packet:
        return False
    order = json.loads(packet)
    if sockets:
        helpers.add(_spawn(control, sockets[0]))
        return True
    if "cancel" in order:
        for pid, attempt in running.items():
            if attempt.ticket == order["cancel"]:
                _stop(pid, attempt, "cancelled")
        return True
    if "preload" in order:
        with contextlib.suppress(Exception):  # a description did the same import and lived; if not, each does it again
            warm[:] = [worker.preload(Job.from_json(order["preload"]))]
        return _is_fit()
    if "import" in order:
        for name in order["import"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        return _is_fit()
    job = Job.from_json(Path(order["job"]).read_text(encoding="utf-8"))
    zygote, pid = os.getpid(), os.fork()
    if pid == 0:
        _child(control, order["ticket"], job, zygote, *warm)
    running[pid] = _Attempt(order["ticket"], job, time.monotonic())
    return True


def _is_fit() -> bool:
    """Whether this process may still fork; it ends if an import has started a thread, and one without it takes over."""
    gc.freeze()
    return len(list(Path("/proc/self/task").iterdir())) == 1


def _spawn(control: socket.socket, descriptor: int) -> int:
    """Fork another like this one, which takes its orders from a socket of its own; returns its number."""
    if pid := os.fork():
        os.close(descriptor)
        return pid
    try:
        control.close()
        serve(socket.socket(fileno=descriptor))
    finally:
        os._exit(0)


# -- in the attempt's own process ------------------------------------------------------------------------------------
def _child(control: socket.socket, ticket: str, job: Job, zygote: int, *warm: Plugins) -> None:
    """Become a process of its own, do the attempt, and end without running anybody's exit handlers."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != zygote:
            os._exit(1)
        os.setsid()
        stopped: list[int] = []

        def interrupt(number: int, _: object) -> None:
            stopped.append(number)
            raise Cancelled("asked to stop")

        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, interrupt)
        _redirect(Path(job.folder) / LOG)
        with contextlib.suppress(OSError):  # where memory runs out, an attempt is to go, not the runner
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
        _limit(job)
        if job.n_threads:
            limit_threads(job.n_threads)

        def tell(message: Mapping[str, Any]) -> None:
            flags = socket.MSG_DONTWAIT if "progress" in message else 0
            with contextlib.suppress(OSError):  # progress is dropped rather than waited for
                control.send(json.dumps({"ticket": ticket, **message}).encode(), flags)

        before = set(sys.modules)
        worker.attempt(job, tell, lambda: bool(stopped), plugins=next(iter(warm), None))
        if not job.describe and (late := [name for name in sys.modules if name not in before]):
            tell({"modules": [name for name in late if not name.startswith("cryoframe_local_")][:MAX_MODULES]})
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _redirect(log: Path) -> None:
    """Close stdin, and send all that is printed, in Python or in C, to the attempt's log."""
    silent = os.open(os.devnull, os.O_RDONLY)
    kept = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((silent, 0), (kept, 1), (kept, 2)):
        os.dup2(source, target)
    os.close(silent)
    os.close(kept)


def _limit(job: Job) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if job.memory_MB and job.device == "cpu":  # CUDA reserves address space without end
        limit = int(_status_MB("self", "VmData") + job.memory_MB + RESERVED_MB) << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


# -- watching -------------------------------------------------------------------------------------------------------
def _watch(pid: int, attempt: _Attempt) -> None:
    job, now_s = attempt.job, time.monotonic()
    resident_MB = sum(_status_MB(member, "RssAnon", "RssShmem") for member in _family(pid))
    attempt.peak_MB = max(attempt.peak_MB, resident_MB)
    if attempt.kill_at_s and now_s > attempt.kill_at_s:
        _kill(pid)
    elif not attempt.kill_at_s and job.deadline_s and now_s - attempt.start_s > job.deadline_s:
        _stop(pid, attempt, f"it took longer than its limit of {job.deadline_s:g} s")
    elif job.memory_MB and resident_MB > job.memory_MB:
        attempt.why = f"it used {resident_MB:.0f} MB of memory, more than its limit of {job.memory_MB:g} MB"
        _kill(pid)
    log = Path(job.folder) / LOG
    with contextlib.suppress(OSError):
        if log.stat().st_size > MAX_LOG_BYTES:
            os.truncate(log, 0)


def _stop(pid: int, attempt: _Attempt, why: str) -> None:
    """Ask politely, and note when to stop asking."""
    attempt.why, attempt.kill_at_s = why, time.monotonic() + GRACE_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _kill(pid: int) -> None:
    for member in _family(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _bury(control: socket.socket, running: dict[int, _Attempt], helpers: set[int]) -> None:
    """Collect what has ended, and end what it left behind (adopted from it: this process is their reaper)."""
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not pid:
            break
        attempt = running.pop(pid, None)
        helpers.discard(pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        # Not at an attempt's death alone: what an orphan forked before it was killed, and what a helper that was killed
        # had in hand, comes here later.
        if attempt is not None or not running:
            for orphan in _children(os.getpid()):
                if orphan not in running and orphan not in helpers and os.getsid(orphan) not in running:
                    _kill(orphan)
        if attempt is None:
            continue
        report = {
            "ticket": attempt.ticket,
            "exit": os.waitstatus_to_exitcode(status),
            "why": attempt.why,
            "seconds": time.monotonic() - attempt.start_s,
            "cpu_s": used.ru_utime + used.ru_stime,
            "peak_MB": max(attempt.peak_MB, used.ru_maxrss / 1024),
        }
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            control.send(json.dumps(report).encode())


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for member in found:
        found += _children(member)
    return found


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text(encoding="ascii").split()
        ]
    except OSError:
        return []


def _status_MB(pid: int | str, *names: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.partition(":")[0] in names)


def _warm_up() -> None:
    """Import, and use once, what nearly every attempt needs: the libraries load some of their parts at first use."""
    for name in (
        "numpy.random",
        "pyarrow.compute",
        "pyarrow.ipc",
        "cryoframe.kernel.hookspecs",
        "cryoframe.formats.mrc",
    ):
        importlib.import_module(name)
    import numpy as np

    from cryoframe.data.tables import ParticleTable

    np.random.default_rng(1).normal(size=4)
    table = ParticleTable.from_columns({"particle_id": np.arange(3), "half": [1, 1, 2]})
    ParticleTable.concat([table, table.select([0])]).column("half")


if __name__ == "__main__":
    _warm_up()
    serve(socket.socket(fileno=int(sys.argv[1])))
