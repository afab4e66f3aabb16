"""A watched folder, a run whose stage is trivial, and small files to land: what the tests of the daemon share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cryoframe.execution.run import Run
from cryoframe.formats import mrc
from cryoframe.records.events import Event, ItemAdmitted, StageFinished
from cryoframe.watch.daemon import Daemon, Tick, watch
from cryoframe.watch.guard import DiskGuard

PLUGIN = '''\
from __future__ import annotations
from dataclasses import dataclass
from cryoframe import CtfFit, Micrograph, StageContext, hookimpl

@dataclass(frozen=True)
class Params:
    scale: float = 1.0  # factor on the mean

@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    """Call the mean a defocus."""
    mean = abs(float(micrograph.data.mean())) * params.scale
    return CtfFit(micrograph.micrograph_id, mean + 1.0, mean, 0.0)
'''
CONFIG = """\
[run]
name = "watched"
folder = "run"
device = "cpu"
workers = 1
executor = "inline"
[plugins]
files = ["trivial.py"]
[watch]
folder = "land"
kind = "micrographs"
patterns = "*.mrc"
settle_s = {settle_s}
long_settle_s = {long_settle_s}
poll_s = {poll_s}
observer = "{observer}"
[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "trivial"
"""

DRIVER = """\
import sys
from cryoframe.execution.run import Run
from cryoframe.watch.daemon import watch
from cryoframe.watch.guard import DiskGuard
idle = float(sys.argv[2]) if len(sys.argv) > 2 else None
with Run.open(sys.argv[1]) as run:
    code = watch(run, until_idle_s=idle, on_tick=lambda tick: print(tick.counts["admitted"], flush=True),
                 guard=DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
sys.exit(code)
"""


class Watched:
    """A folder under watch; `run` and the daemon live while a session does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.land = folder, folder / "land"
        self.ticks: list[Tick] = []

    def configure(
        self, *, settle_s: float = 0.15, long_settle_s: float = 0.5, poll_s: float = 0.1, observer: str = "auto"
    ) -> Path:
        self.land.mkdir(exist_ok=True)
        (self.folder / "trivial.py").write_text(PLUGIN)
        text = CONFIG.format(settle_s=settle_s, long_settle_s=long_settle_s, poll_s=poll_s, observer=observer)
        (self.folder / "run.toml").write_text(text)
        return self.folder / "run.toml"

    def session(self, until_idle_s: float = 0.6, *, guard: DiskGuard | None = None) -> list[Event]:
        """Watch until idle and return all the journal has."""
        with Run.open(self.folder / "run.toml") as run:
            guard = guard or DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096)
            assert watch(run, until_idle_s=until_idle_s, on_tick=self.ticks.append, guard=guard) == 0
            self.files = {row.path: row for row in run.state.files()}
            self.counts = run.state.file_counts()
            self.tasks = run.state.task_counts()
            return list(run.journal.replay())

    def session_apart(self) -> list[Event]:
        """Watch until idle in a process of its own."""
        process = drive(self, "0.6")
        process.communicate()
        assert process.returncode == 0
        with Run.open(self.folder / "run.toml") as run:
            self.tasks = run.state.task_counts()
            return list(run.journal.replay())

    def session_with(self, land: Callable[[], None], until_idle_s: float = 0.6) -> list[Event]:
        """Watch while `land` puts files there."""
        thread = threading.Thread(target=land)
        thread.start()
        try:
            return self.session(until_idle_s)
        finally:
            thread.join()

    def put(self, name: str, value: float = 1.0, *, box_px: int = 32) -> Path:
        """Write a whole micrograph, as a renaming writer does."""
        path = self.land / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = self.folder / "being-written.mrc"
        mrc.write(part, image(value, box_px), pixel_size_A=1.0)
        part.rename(path)
        return path


def image(value: float, box_px: int = 32) -> np.ndarray:
    return np.full((box_px, box_px), value, np.float32)


def mrc_bytes(folder: Path, value: float = 1.0, box_px: int = 32) -> bytes:
    path = folder / "bytes-of.mrc"
    mrc.write(path, image(value, box_px), pixel_size_A=1.0)
    return path.read_bytes()


def admitted(events: list[Event]) -> list[str]:
    return [event.item_id for event in events if isinstance(event, ItemAdmitted)]


def finished(events: list[Event]) -> Counter[tuple[str, str]]:
    return Counter((event.stage_id, event.item_id) for event in events if isinstance(event, StageFinished))


def wait_for(condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come about in time"
        time.sleep(0.02)


def rescan(daemon: Daemon) -> None:
    """Have every root looked through once more, and wait until that is over."""
    n_over = [one.n_over for one in daemon.rescans.rounds]
    if not any(one.is_under_way for one in daemon.rescans.rounds):
        daemon.rescans.now()
    wait_for(
        lambda: (
            daemon._scan(time.monotonic())  # type: ignore[func-returns-value]
            or all(one.n_over > before for one, before in zip(daemon.rescans.rounds, n_over, strict=True))
        )
    )


def drive(watched: Watched, *more: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(watched.folder / "run.toml"), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
