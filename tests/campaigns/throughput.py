"""Full-size movies through `cryoframe watch`: movies an hour, CPU seconds a stage, memory of daemon and workers.

``python tests/campaigns/throughput.py --movies FOLDER`` with movies and ``gain.mrc`` that ``cryoframe simulate`` made
(flat layout), or ``--make N`` to make them first (about a minute of CPU each at 4096² × 24). Wall times are of the
machine as it was; CPU seconds hardly depend on what else it did.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryoframe.data.tables import ExposureTable
from cryoframe.execution.exposures import TABLE
from cryoframe.records.database import Database
from cryoframe.records.events import Event, StageFinished
from cryoframe.records.journal import Journal

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = "import sys; from cryoframe.cli.main import entry; sys.argv = ['cryoframe', *sys.argv[1:]]; sys.exit(entry())"
SESSION = """
[session]
name = "full"
seed = 11
n_movies = {n_movies}
folder = "movies"
truth = "truth"
layout = "flat"
[microscope]
preset = "krios_g4"
[camera]
preset = "falcon_4i"
[image]
shape_px = [{edge_px}, {edge_px}]
pixel_size_A = 1.0
n_frames = {n_frames}
dose_per_frame_e_A2 = 2.0
[[specimen]]
file = "{model}"
name = "betagal"
symmetry = "D2"
"""
CONFIG = """
[run]
name = "throughput"
folder = "run"
workers = {workers}
[optics]
voltage_kV = 300.0
cs_mm = 2.7
amplitude_contrast_frac = 0.1
[movies]
pixel_size_A = 1.0
dose_per_frame_e_A2 = 2.0
gain = "{gain}"
n_frames_expected = {n_frames}
[watch]
folder = "land"
patterns = ["*.tiff"]
settle_s = 2.0
poll_s = 1.0
[[stage]]
id = "motion"
run = "correct_motion"
use = "patch"
threads = 1
[[stage]]
id = "ctf"
run = "estimate_ctf"
use = "spectrum"
threads = 1
[[stage]]
id = "clean"
run = "clean_micrograph"
use = "texture"
threads = 1
[[stage]]
id = "picks"
run = "pick_particles"
use = "blob"
threads = 1
params = {{ diameter_A = 180.0 }}
[[stage]]
id = "boxes"
run = "extract_particles"
use = "box"
threads = 1
params = {{ box_px = 256, out_box_px = 128 }}
"""
STAGES = ("motion", "ctf", "clean", "picks", "boxes")


@dataclass
class Memory:
    """Largest resident sizes seen [MB]: of the daemon itself, of its helpers and workers together, of all."""

    daemon_MB: float = 0.0
    others_MB: float = 0.0
    all_MB: float = 0.0

    def look(self, pid: int) -> None:
        """Take the present sizes in; pages that processes share are counted once (PSS)."""
        own = _size_MB(pid, "Rss")
        others = sum(_size_MB(child, "Pss") for child in _descendants(pid))
        self.daemon_MB, self.others_MB = max(self.daemon_MB, own), max(self.others_MB, others)
        self.all_MB = max(self.all_MB, own + others)


@dataclass
class Score:
    """What one session showed."""

    n_movies: int
    wall_s: float
    cpu_s: float
    memory: Memory
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)

    @property
    def movies_per_hour(self) -> float:
        """From the first movie that was landed to the last that was finished."""
        return 3600.0 * self.n_movies / self.wall_s

    def lines(self) -> list[str]:
        """Return the figures for people."""
        stages_s = sum(stage["cpu_s"] for stage in self.stages.values())
        rest_s = self.cpu_s / self.n_movies - stages_s
        return [
            f"{self.n_movies} movies in {self.wall_s:.0f} s: {self.movies_per_hour:.0f} an hour",
            f"CPU: {self.cpu_s / self.n_movies:.1f} s a movie; two cores that do nothing else would do "
            f"{7200 / (self.cpu_s / self.n_movies):.0f} an hour",
            *(
                f"  {name:8} {stage['cpu_s']:6.2f} CPU s{stage['seconds']:7.2f} s wall, peak {stage['peak_MB']:5.0f} MB"
                for name, stage in self.stages.items()
            ),
            f"  {'rest':8} {rest_s:6.2f} CPU s (start, digest, headers, commits, journal, table)",
            f"memory: daemon {self.memory.daemon_MB:.0f} MB, helpers and workers {self.memory.others_MB:.0f} MB, "
            f"all {self.memory.all_MB:.0f} MB",
            f"table: {json.dumps(self.table)}",
        ]


def make(folder: Path, n_movies: int, *, edge_px: int = 4096, n_frames: int = 24) -> Path:
    """Make movies and a gain reference; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = REPOSITORY / "cryoframe" / "cli" / "demo_data" / "5a1a.cif.gz"
    text = SESSION.format(n_movies=n_movies, edge_px=edge_px, n_frames=n_frames, model=model)
    (folder / "session.toml").write_text(text, encoding="utf-8")
    words = ["simulate", str(folder / "session.toml"), "--workers", "1", "--quiet"]
    subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, env=_environment(), stdout=subprocess.DEVNULL)
    return folder / "movies"


def measure(movies: Path, folder: Path, *, workers: int = 2, n_frames: int = 24) -> Score:
    """Land the movies of a folder all at once, watch, and return what it took."""
    land = folder / "land"
    land.mkdir(parents=True)
    text = CONFIG.format(workers=workers, gain=movies / "gain.mrc", n_frames=n_frames)
    (folder / "run.toml").write_text(text, encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    daemon = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "watch", str(folder / "run.toml"), "--quiet", "--until-idle", "15"],
        env=_environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while not (folder / "run" / TABLE).is_file() and daemon.poll() is None:
        time.sleep(0.2)
    found = sorted(movies.glob("*.tiff"))
    for movie in found:
        os.link(movie, land / movie.name)
    memory = Memory()
    while daemon.poll() is None:
        memory.look(daemon.pid)
        time.sleep(0.5)
    if daemon.returncode:
        raise SystemExit(f"watch ended with {daemon.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _scored(folder / "run", len(found), cpu_s, memory)


def _scored(run: Path, n_movies: int, cpu_s: float, memory: Memory) -> Score:
    rows = ExposureTable.read(run / TABLE).rows()
    times = [[datetime.fromisoformat(str(row[name])) for row in rows] for name in ("landed_utc", "finished_utc")]
    score = Score(n_movies, (max(times[1]) - min(times[0])).total_seconds(), cpu_s, memory)
    ended = [event for event in _events(run) if isinstance(event, StageFinished)]
    for stage in STAGES:
        mine = [event for event in ended if event.stage_id == stage]
        score.stages[stage] = {
            "cpu_s": statistics.fmean(event.cpu_s for event in mine),
            "seconds": statistics.fmean(event.seconds for event in mine),
            "peak_MB": max(event.peak_MB for event in mine),
        }
    score.table = {
        "rows": len(rows),
        "done": sum(row["status"] == "done" for row in rows),
        "with all pictures": sum(all(row[f"{name}_png"] for name in ("sum", "drift", "ctf", "picks")) for row in rows),
        "picks": sum(int(row["n_picks"] or 0) for row in rows),
        "CTF accepted": sum(bool(row["ctf_accepted"]) for row in rows),
    }
    return score


def _events(run: Path) -> Iterator[Event]:
    database = Database.open(run / "state.sqlite", read_only=True)
    try:
        yield from Journal(database).replay()
    finally:
        database.close()


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def _descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        try:
            text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
        except OSError:
            continue
        children = [int(word) for word in text.split()]
        found += children
        waiting += children
    return found


def _size_MB(pid: int, kind: str) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0


def main(words: Sequence[str]) -> int:
    """Run one measurement and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--movies", type=Path, help="folder with movies and gain.mrc")
    parser.add_argument("--make", type=int, default=0, metavar="N", help="make so many movies first")
    parser.add_argument("--edge", type=int, default=4096, help="of the movies that are made")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work, on the file system of the movies; kept")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        movies = options.movies or make(folder / "made", options.make, edge_px=options.edge, n_frames=options.frames)
        score = measure(movies.absolute(), folder / "session", workers=options.workers, n_frames=options.frames)
    sys.stdout.write("\n".join(score.lines()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
