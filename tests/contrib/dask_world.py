"""The small facility of `run_world`, its attempts on Dask; and a cluster as somebody else would have started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from run_world import World

from cryoframe.execution.run import Run
from cryoframe.kernel import discovery
from cryoframe.kernel.config import load
from cryoframe.kernel.plugins import Plugins


@dataclass
class DaskWorld(World):
    """A world whose attempts run on Dask; `settings` are the lines of ``[executor]``."""

    executor: str = "dask"
    settings: str = ""
    products: str = ""

    def write(self) -> Path:
        path = super().write()
        text = path.read_text(encoding="utf-8")
        if self.products:
            text = text.replace("[run]\n", f"[run]\nproducts = '{self.products}'\n")
        path.write_text(f"{text}\n[executor]\n{self.settings}\n" if self.settings else text, encoding="utf-8")
        return path

    @contextmanager
    def open(self, *, backoff_s: float = 0.001) -> Iterator[Run]:
        config = load(self.write())
        offered = tuple(offer for offer in discovery.scan() if offer.hook == "make_executor")
        with Run(config, Plugins((*offered, *discovery.local_offers(config.plugin_files)))) as run:
            run.backoff_s = backoff_s
            yield run


@dataclass
class Fleet:
    """A scheduler and workers in processes of their own, each of which can be killed."""

    folder: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    def start(self, *, n_workers: int = 1) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard", "--port", "0"]
        self.scheduler = self._popen("dask_scheduler", options, "scheduler")
        for _ in range(n_workers):
            self.add()

    def add(self, *, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        number = len(self.workers)
        wait_for(self.file.exists, 30)
        options = ["--scheduler-file", str(self.file), "--no-nanny", "--nthreads", "1", "--memory-limit", "0"]
        options += ["--no-dashboard", "--host", "127.0.0.1", "--name", f"w{number}", "--death-timeout", "30"]
        options += ["--local-directory", str(self.folder / f"local{number}")]
        self.workers.append(self._popen("dask_worker", options, f"worker{number}", environment))
        return self.workers[-1]

    def _popen(
        self, module: str, options: list[str], name: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *options],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
                cwd=self.folder,
            )

    def close(self) -> None:
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def fleet(folder: Path, *, n_workers: int = 1) -> Iterator[Fleet]:
    made = Fleet(folder)
    try:
        made.start(n_workers=n_workers)
        yield made
    finally:
        made.close()


def wait_for(true: Callable[[], object], limit_s: float) -> None:
    until_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until_s, "it did not come about in time"
        time.sleep(0.05)
