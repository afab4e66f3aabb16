"""`cryoframe watch` as a process of its own: started, killed, stopped, measured from outside. Judges nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility

_ENTRY = "from cryoframe.cli.main import entry; entry()"
_TICKS_1_S = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.5
#: A load test that has come to nothing by then has failed.
PATIENCE_S = 1200.0


@dataclass(frozen=True)
class Usage:
    """What a process uses; CPU time with that of its descendants."""

    rss_MB: float
    cpu_s: float
    n_fds: int
    n_threads: int


class Service:
    """A session at work.

    Parameters
    ----------
    facility
        Where.
    verb, words
        What is started, and how.
    """

    def __init__(self, facility: Facility, *words: str, verb: str = "watch") -> None:
        self.facility, self._start_s = facility, time.monotonic()
        self._n_events_before = 0
        with contextlib.suppress(Exception):  # there is no run yet
            self._n_events_before = int(history.ask(facility.out, "SELECT max(seq) FROM events")[0][0] or 0)
        self._log = (facility.folder / "service.log").open("ab")
        command = [sys.executable, "-c", _ENTRY, verb, str(facility.config), "--quiet", *words]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)
        self.samples: list[tuple[float, Usage]] = []
        self._over = threading.Event()
        self._meter = threading.Thread(target=self._measure, daemon=True)
        self._meter.start()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    # -- ending -------------------------------------------------------------------------------------------------
    def kill(self) -> None:
        """Kill the process itself and nothing else, as a machine in trouble does."""
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        return self._ended()

    def ended(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait until it ends by itself, and return its exit status."""
        self.process.wait(timeout_s)
        return self._ended()

    def _ended(self) -> int:
        status = self.process.wait()
        self._over.set()
        self._meter.join()
        self._log.close()
        return status

    # -- asking --------------------------------------------------------------------------------------------------
    def until(self, sql: str, wanted: Callable[[float], bool], timeout_s: float = PATIENCE_S) -> float:
        """Wait until a number in the run's database is as wanted; returns the seconds since the process was started.

        Raises
        ------
        TimeoutError
            If it does not come to that.
        """
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            with contextlib.suppress(Exception):  # there is no table yet
                if wanted(float(history.ask(self.facility.out, sql)[0][0] or 0)):
                    return time.monotonic() - self._start_s
            if self.process.poll() is not None:
                raise TimeoutError(f"the process ended with {self.process.returncode}: {self.last_words()}")
            time.sleep(0.1)
        raise TimeoutError(f"not within {timeout_s:.0f} s: {sql}")

    def until_at_work(self) -> float:
        """Wait until the first rescan of this process is accounted for."""
        return self.until(
            f"SELECT count(*) FROM log WHERE name='Reconciled' AND seq>{self._n_events_before}", lambda n: n > 0
        )

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        return (self.facility.folder / "service.log").read_text(encoding="utf-8", errors="replace")[-500:]

    def usage(self) -> Usage:
        """Return what it uses now."""
        return usage(self.process.pid)

    def peak_MB(self) -> float:
        """Return the most memory it was seen to use."""
        return max((used.rss_MB for _, used in self.samples), default=0.0)

    def _measure(self) -> None:
        while not self._over.wait(SAMPLE_S):
            with contextlib.suppress(OSError, KeyError):  # it has just ended
                self.samples.append((time.monotonic(), self.usage()))


def order(verb: str, facility: Facility, *words: str) -> str:
    """Give a running session an order, and return what it said."""
    command = [sys.executable, "-c", _ENTRY, verb, str(facility.out), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def usage(pid: int) -> Usage:
    """Return what a process uses now."""
    place = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text(encoding="utf-8").splitlines())
    cpu_s = sum(_cpu_s(member) for member in family(pid))
    return Usage(
        int(status["VmRSS"].split()[0]) / 1024, cpu_s, len(list((place / "fd").iterdir())), int(status["Threads"])
    )


def family(pid: int) -> Sequence[int]:
    """Return a process and its descendants."""
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of those of its children that it has buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS_1_S
