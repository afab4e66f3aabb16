"""A place where a plugin runs in a process of its own and every file it leaves is noticed; what runs is the probe."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryoframe.execution.executor import Job
from cryoframe.testing.probe import Order, Report

State = dict[str, tuple[int, int]]


@dataclass
class Visit:
    """One process's stay in the sandbox."""

    report: Report
    returncode: int
    timed_out: bool = False
    printed: str = ""
    left: list[str] = field(default_factory=list)
    log: str = ""


@dataclass
class Sandbox:
    """Private home, current and temporary folders; several visits may follow each other in it."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("home", "cwd", "tmp"):
            (self.folder / name).mkdir(parents=True)

    def visit(self, job: Job, *, timeout_s: float, watched: tuple[Path, ...] = (), **order: object) -> Visit:
        """Run the probe on a job here and return what was seen of it.

        Parameters
        ----------
        job
            Stored inputs and parameters.
        timeout_s
            The process and all its descendants are killed after this.
        watched
            Further folders in which nothing may change.
        order
            Fields of :class:`~cryoframe.testing.probe.Order`.
        """
        places = (self.folder / "home", self.folder / "cwd", self.folder / "tmp", *watched)
        written, paper = self.folder / "report.json", self.folder / "order.json"
        written.unlink(missing_ok=True)
        paper.write_text(json.dumps(asdict(Order(str(job.write()), str(written), **order))))  # type: ignore[arg-type]
        before = [_state(place) for place in places]
        returncode, printed = self._run(paper, timeout_s)
        left = [name for place, old in zip(places, before, strict=True) for name in _changes(place, old, _state(place))]
        report = Report(**json.loads(written.read_text(encoding="utf-8"))) if written.is_file() else Report()
        return Visit(report, returncode, returncode == -signal.SIGKILL, printed, left)

    def _run(self, paper: Path, timeout_s: float) -> tuple[int, str]:
        out = self.folder / "printed.txt"
        with out.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "cryoframe.testing.probe", str(paper)],
                cwd=self.folder / "cwd",
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
            _end_group(process)
        return process.returncode, out.read_text(encoding="utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        cache = os.environ.get("NUMBA_CACHE_DIR") or str(
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cryoframe" / "numba"
        )
        own = {
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "home" / ".cache"),
            "TMPDIR": str(self.folder / "tmp"),
            "NUMBA_CACHE_DIR": cache,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**os.environ, **own}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever of the process's own session is still alive."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _state(folder: Path) -> State:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _changes(folder: Path, before: State, after: State) -> list[str]:
    added = [f"{folder.name}/{name}" for name in after if after[name] != before.get(name)]
    return added + [f"{folder.name}/{name} (removed)" for name in before if name not in after]
