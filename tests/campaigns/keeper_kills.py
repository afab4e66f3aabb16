"""``kill -9`` of the process that keeps table and page of a session, while `cryoframe watch` is at work and files land.

``python tests/campaigns/keeper_kills.py --kills 20``: every second one is killed in the middle of its work, the others
at any moment. All the while table and page are read: neither may be torn or go back, another process has to take over,
and at the end every file has its row.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryoframe.data.tables import ExposureTable
from cryoframe.errors import CryoframeError
from cryoframe.execution.exposure_table import whole
from cryoframe.execution.exposures import TABLE
from cryoframe.formats import mrc
from cryoframe.records.database import Database
from cryoframe.view.exposures import PAGE

COMMAND = "import sys; from cryoframe.cli.main import entry; sys.argv = ['cryoframe', *sys.argv[1:]]; sys.exit(entry())"
PLUGIN = '''
from dataclasses import dataclass
from cryoframe import CtfFit, Micrograph, hookimpl

@dataclass(frozen=True)
class Params:
    """Nothing to set."""

@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params) -> CtfFit:
    """Answer at once."""
    return CtfFit(micrograph.micrograph_id, 1e4, 9e3, 0.0)
'''
CONFIG = """
[run]
name = "kills"
folder = "run"
workers = 1
executor = "inline"
[plugins]
files = ["trivial.py"]
[watch]
folder = "land"
kind = "micrographs"
patterns = "*.mrc"
settle_s = 0.2
poll_s = 0.5
[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "trivial"
"""
PATIENCE_S = 240.0


@dataclass
class Score:
    """What was seen."""

    n_kills: int = 0
    n_in_work: int = 0
    n_reads: int = 0
    n_rows: int = 0
    n_files: int = 0
    taken_over_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Reader(threading.Thread):
    """Reads table and page over and over."""

    def __init__(self, run: Path, score: Score) -> None:
        super().__init__(daemon=True)
        self._run, self._score = run, score
        self._n_before, self.over = 0, threading.Event()

    def run(self) -> None:
        """Read until it is over."""
        while not self.over.wait(0.05):
            with contextlib.suppress(FileNotFoundError):
                self._look()

    def _look(self) -> None:
        path = self._run / TABLE
        if not path.is_file():
            return
        try:
            n_rows = len(ExposureTable.read(path))
        except CryoframeError as error:
            self._score.wrong.append(f"torn table: {error}")
            return
        if n_rows < self._n_before:
            self._score.wrong.append(f"the table went back from {self._n_before} to {n_rows} rows")
        if not (self._run / PAGE).read_text(encoding="utf-8").endswith("</html>"):
            self._score.wrong.append("torn page")
        self._n_before = n_rows
        self._score.n_reads += 1


def keeper_of(daemon: int) -> int:
    """Return the process that keeps the table of a daemon, or 0."""
    for children in Path(f"/proc/{daemon}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in children.read_text(encoding="ascii").split():
                if b"cryoframe.view.upkeep" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
    return 0


def is_working(pid: int) -> bool:
    """Whether a process has the processor."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] in ("R", "D")
    except OSError:
        return False


def campaign(folder: Path, n_kills: int, *, seed: int = 1, gap_s: float = 3.0) -> Score:
    """Kill so many, and return what was seen."""
    chance, score = random.Random(seed), Score()
    (folder / "land").mkdir(parents=True)
    (folder / "trivial.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    words = [sys.executable, "-c", COMMAND, "watch", str(folder / "run.toml"), "--quiet"]
    daemon = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reader = Reader(folder / "run", score)
    reader.start()
    try:
        before = 0
        while score.n_kills < n_kills:
            before = _killed(folder, daemon.pid, before, score, chance, gap_s)
        _land(folder, score, 3)
        _until(lambda: bool(keeper_of(daemon.pid)), "no keeper took over at the end")
        _until(lambda: _n_done(folder) == score.n_files, "not every file was done")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(PATIENCE_S)
        reader.over.set()
        reader.join()
    _judge(folder, score)
    return score


def _killed(folder: Path, daemon: int, before: int, score: Score, chance: random.Random, gap_s: float) -> int:
    """Land some files, kill the keeper some time after; returns its number."""
    start_s = time.monotonic()
    found = [0]

    def there() -> bool:
        _land(folder, score, 1)
        found[0] = keeper_of(daemon)
        return found[0] not in (0, before)

    _until(there, "no keeper was begun")
    if before:
        score.taken_over_s.append(time.monotonic() - start_s)
    until_s = time.monotonic() + chance.uniform(0.0, gap_s)
    while time.monotonic() < until_s:
        _land(folder, score, 1)
        time.sleep(0.2)
    if score.n_kills % 2:  # in the middle of its work: while it has the processor
        end_s = time.monotonic() + 10.0
        while not is_working(found[0]) and time.monotonic() < end_s:
            time.sleep(0.0005)
        time.sleep(chance.uniform(0.0, 0.03))
        score.n_in_work += is_working(found[0])
    os.kill(found[0], signal.SIGKILL)
    score.n_kills += 1
    return found[0]


def _land(folder: Path, score: Score, count: int) -> None:
    for _ in range(count):
        part, path = folder / f"{score.n_files:05d}.part", folder / "land" / f"m{score.n_files:05d}.mrc"
        mrc.write(part, np.full((16, 16), 1 + score.n_files, dtype=np.float32), pixel_size_A=2.0)
        part.rename(path)
        score.n_files += 1
    time.sleep(0.05)


def _n_done(folder: Path) -> int:
    database = Database.open(folder / "run" / "state.sqlite", read_only=True, examine=False)
    try:
        return int(str(database.read("SELECT count(*) FROM tasks WHERE status='done'")[0][0]))
    finally:
        database.close()


def _judge(folder: Path, score: Score) -> None:
    """Hold what is left against the log."""
    database = Database.open(folder / "run" / "state.sqlite", read_only=True)
    expected = whole(database)
    database.close()
    table = ExposureTable.read(folder / "run" / TABLE)
    score.n_rows = len(table)
    if table.rows() != expected.rows():
        score.wrong.append(f"{len(table)} rows are there, or another content, where the log has {len(expected)}")
    if {row["status"] for row in table.rows()} != {"done"} or len(table) != score.n_files:
        score.wrong.append(f"{score.n_files} files landed, {len(table)} have a row")
    if left := sorted(path.name for path in (folder / "run").glob(".*.part")):
        score.wrong.append(f"left behind: {', '.join(left)}")


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


def main(words: Sequence[str]) -> int:
    """Run the campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="keeper-") as name:
        score = campaign(Path(name), options.kills, seed=options.seed)
    taken = sorted(score.taken_over_s)
    sys.stdout.write(
        f"{score.n_kills} kills, {score.n_in_work} of them while it had the processor; {score.n_reads} readings;"
        f" {score.n_rows} rows of {score.n_files} files; another keeper after {taken[len(taken) // 2]:.1f} s (median),"
        f" {taken[-1]:.1f} s at most; wrong: {len(score.wrong)}\n"
    )
    sys.stdout.write("".join(f"  {text}\n" for text in score.wrong))
    return int(bool(score.wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
