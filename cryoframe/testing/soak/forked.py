"""Runs in children of a warm process, which is quick enough to kill them by the hundred. Judges nothing.

Run as a program it is that warm process: an order a line on stdin, an exit status a line on stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryoframe.records import crash


class Driver:
    """The asking side."""

    def __init__(self) -> None:
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "cryoframe.testing.soak.forked"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | single
        )

    def run(
        self,
        config: Path,
        *,
        at: str = "",
        after_s: float = 0.0,
        order: Sequence[str] = (),
        warm: bool = False,
        rebuild: bool = False,
    ) -> int:
        """Have a run executed, or killed on the way; returns its exit status.

        Parameters
        ----------
        config
            The configuration.
        at
            A named place at which it dies.
        after_s
            When it is killed; 0 = never.
        order
            Files to be admitted in this order before the others.
        warm
            Import in the warm process what this run needed.
        rebuild
            Make its state anew from its log first.
        """
        content = {"config": str(config), "at": at, "after_s": after_s, "order": list(order), "warm": warm}
        content["rebuild"] = rebuild
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(content) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the warm process."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(timeout=60)


# -- in the warm process -----------------------------------------------------------------------------------------
def serve() -> None:
    """Obey the orders on stdin."""
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            if order["at"]:
                os.environ[crash.VARIABLE] = order["at"]
            status = _execute(order)
            if order["warm"]:
                os.write(writing, json.dumps(sorted(sys.modules)).encode())
            os._exit(status)
        os.close(writing)
        if order["after_s"]:
            time.sleep(order["after_s"])
            os.kill(pid, signal.SIGKILL)
        with os.fdopen(reading) as said:
            _warm(said.read())
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _execute(order: Mapping[str, object]) -> int:
    from cryoframe.execution.run import Run
    from cryoframe.kernel.config import load
    from cryoframe.kernel.discovery import local_offers
    from cryoframe.kernel.plugins import Plugins

    config = load(Path(str(order["config"])))
    with Run(config, Plugins(local_offers(config.plugin_files))) as run:
        run.backoff_s = 0.001
        if order["rebuild"]:
            run.journal.rebuild()
        for path in order["order"]:  # type: ignore[attr-defined]
            run.admit_file(path, "Micrograph")
        run.execute()
    return 0


def _warm(said: str) -> None:
    """Import what a run needed, but for the plugins, which are each run's own."""
    for name in json.loads(said) if said else ():
        if not name.startswith(("cryoframe_local", "__")):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def shuffled(paths: Sequence[Path], chance: random.Random) -> list[str]:
    """Return the files in an order of chance."""
    names = [str(path) for path in sorted(paths)]
    chance.shuffle(names)
    return names


if __name__ == "__main__":
    serve()
