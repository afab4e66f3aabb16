"""How far one daemon and its SQLite on a local disk reach: simulated items through the real journal and runner.

``python tests/campaigns/control_plane.py``: items arrive as from 24 microscopes of 1 000 movies an hour, as soon as
others are dealt with. Admission, ledger, runner, bus, journal and database are the real ones; attempts end at once, and
products are names without files, whose cost is measured apart (``--store``). Prints what each item costs as items grow
in number, and what seven days would come to by the line through those figures; ``--days 7`` runs them instead.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryoframe import CtfFit
from cryoframe.data import ids
from cryoframe.execution.admit import Arrival, Reading
from cryoframe.execution.executor import Job, Outcome
from cryoframe.execution.run import Run
from cryoframe.formats import products
from cryoframe.kernel import config as configuration
from cryoframe.kernel import discovery
from cryoframe.kernel.config import RunConfig
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import events
from cryoframe.records.store import Committed, Store

N_MICROSCOPES, PER_HOUR = 24, 1000
STAGES = (
    ("motion", "correct_motion", "global"),
    ("ctf", "estimate_ctf", "spectrum"),
    ("pick", "pick_particles", "blob"),
    ("box", "extract_particles", "box"),
)
SET_STAGE = ("classes", "classify_2d", "em")
N_METRICS = 2
_FIGURES = ("defocus_u_A", "defocus_v_A", "resolution_A", "drift_A")
MOVIE_BYTES = 300 << 20


class NamedProducts(Store):
    """A store that remembers products by name alone, in the database; nothing is written."""

    state: Any = None
    item_id = ""

    def has(self, stage_id: str, key: str) -> bool:
        return self.state.product(key) is not None

    def job(self, stage_id: str, key: str) -> dict[str, Any]:
        shown = {"figures": dict.fromkeys(_FIGURES, 1.25), "files": {"shown/picture.png": key}}
        return {"stage_id": stage_id, "key": key, "kind": "x", "digest": key, "item_id": self.item_id, **shown}

    def scratch(self, stage_id: str, key: str, attempt: int) -> Path:
        return self.folder / "scratch" / f"{stage_id}.{key[:12]}.{attempt}"

    def commit(self, scratch: Path, stage_id: str, item_id: str, key: str, *, job: Mapping[str, Any]) -> Committed:
        self.item_id = item_id
        return Committed(key, "x", ids.digest_bytes(key.encode()), self.path(stage_id, key))

    def discard(self, scratch: Path) -> None:
        """Do nothing."""


class AtOnce:
    """An executor whose attempts have ended when they are asked for."""

    def __init__(self, run: Run) -> None:
        self._run, self._n_jobs = run, 0
        self._hand: list[tuple[str, Job]] = []

    def submit(self, job: Job) -> str:
        self._n_jobs += 1
        self._hand.append((f"t{self._n_jobs}", job))
        job.to_json()
        return self._hand[-1][0]

    def poll(self, timeout_s: float) -> list[Outcome]:
        hand, self._hand = self._hand, []
        said = {"params": {}, "files": {}, "device": "cpu", "why": "", "source": "simulated", "python": "3"}
        found = []
        for ticket, job in hand:
            for number in range(0 if job.describe else N_METRICS):
                self._run._hear(ticket, {"metric": [f"figure_{number}", 1.25 * number, "A"]})
            result = said if job.describe else {"ok": True, "kind": "x", "files": {}, "figures": {}}
            found.append(Outcome(ticket, result, seconds=1.0, cpu_s=1.0, peak_MB=100.0))
        return found

    def cancel(self, ticket: str) -> None:
        """Do nothing."""

    def retire(self, offers: Sequence[object]) -> None:
        """Do nothing."""

    def another(self) -> AtOnce:
        return self

    def close(self) -> None:
        """Do nothing."""


class SimulatedRun(Run):
    """A run as it is, but for its store and its executor."""

    def _open(self) -> None:
        super()._open()
        self.store = NamedProducts(self.folder, self.bus)
        self.store.state = self.state


@dataclass(frozen=True)
class Mark:
    """What there was when so many items had been dealt with; `item_ms` is of those since the mark before."""

    n_items: int
    n_events: int
    wall_s: float
    item_ms: float
    item_cpu_ms: float
    slowest_ms: float
    rss_MB: float
    database_MB: float

    def line(self) -> str:
        return (
            f"{self.n_items:>9} {self.n_events:>10} {self.wall_s:>8.0f} {self.item_ms:>8.2f} {self.item_cpu_ms:>8.2f}"
            f" {self.slowest_ms:>9.1f}"
            f" {self.rss_MB:>8.0f} {self.database_MB:>8.0f}"
        )


HEAD = "    items     events   wall s  ms/item   cpu ms  worst ms   RSS MB    DB MB"


def configured(folder: Path, *, with_set: bool) -> RunConfig:
    """Return a configuration of the usual stages over movies, and one over the set if it is wanted."""
    stages = [{"id": name, "run": hook, "use": use} for name, hook, use in STAGES]
    if with_set:
        name, hook, use = SET_STAGE
        stages.append({"id": name, "run": hook, "use": use, "every": 1000})
    content = {
        "run": {"name": "plane", "folder": str(folder / "out"), "workers": 512, "device": "cpu"},
        "movies": {"files": str(folder / "raw/*/*.tiff"), "pixel_size_A": 0.8, "dose_per_frame_e_A2": 1.0},
        "stage": stages,
    }
    return configuration.from_mapping(content, folder=folder)


def opened(folder: Path, *, with_set: bool) -> SimulatedRun:
    """Open the run, its executor the simulated one."""
    run = SimulatedRun(configured(folder, with_set=with_set), Plugins(discovery.scan()))
    from cryoframe.execution import executors

    chosen, executors.chosen = executors.chosen, lambda *_: AtOnce(run)
    try:
        run.runner(live=True)
    finally:
        executors.chosen = chosen
    return run


def session(folder: Path, n_items: int, *, n_marks: int, with_set: bool) -> Iterator[Mark]:
    """Deal with items as they arrive, a movie of each microscope at a time; yields marks on the way."""
    run = opened(folder, with_set=with_set)
    runner, every = run.runner(live=True), max(1, n_items // n_marks)
    start_s, last_cpu_s = time.monotonic(), time.process_time()
    n_done, last_n, last_s, slowest_s = 0, 0, start_s, 0.0
    while n_done < n_items:
        round_s = time.monotonic()
        places = [_land(folder, microscope, n_done) for microscope in range(N_MICROSCOPES)]
        seen = [{"path": path.relative_to(root).as_posix(), "root": str(root)} for root, path in places]
        run.bus.publish_many(
            [run.bus.make(events.FileSeen, **where, size=MOVIE_BYTES, mtime_ns=n_done) for where in seen]
        )
        arrivals = []
        for (root, path), where in zip(places, seen, strict=True):
            reading = Reading(MOVIE_BYTES, n_done, ids.digest_bytes(str(path).encode()), _HEADER)
            arrivals.append(Arrival(where["path"], path, "Movie", {}, root, reading))
        run.admit_read(arrivals, exists=lambda _: True)
        while runner.running() or _has_ready(runner):
            runner.step(0.0)
        n_done += N_MICROSCOPES
        now_s = time.monotonic()
        slowest_s = max(slowest_s, (now_s - round_s) / N_MICROSCOPES)
        if n_done - last_n >= every or n_done >= n_items:
            spent_s = (now_s - last_s, time.process_time() - last_cpu_s)
            each_ms = tuple(1000 * seconds / (n_done - last_n) for seconds in spent_s)
            yield _mark(run, n_done, start_s, (each_ms[0], each_ms[1], 1000 * slowest_s))
            last_n, last_s, last_cpu_s, slowest_s = n_done, time.monotonic(), time.process_time(), 0.0
    counts = run.state.task_counts()
    wrong = {stage: count for stage, count in counts.items() if stage != SET_STAGE[0] and count != {"done": n_done}}
    assert not wrong, wrong
    run.close()


_HEADER = {"ny_px": 4092, "nx_px": 5760, "n_frames": 40, "voltage_kV": 300.0}


def _has_ready(runner: Any) -> bool:
    return bool(len(runner._waiting)) and not runner.resting


def _land(folder: Path, microscope: int, number: int) -> tuple[Path, Path]:
    root = folder / "raw" / f"scope{microscope:02d}"
    return root, root / f"GridSquare_{number // 5000}" / f"FoilHole_{number:08d}_Data_{microscope}_fractions.tiff"


def _mark(run: Run, n_items: int, since_s: float, spent_ms: tuple[float, float, float]) -> Mark:
    gc.collect()
    n_events = int(str(run._database.read("SELECT max(seq) FROM events")[0][0]))
    size = sum(path.stat().st_size for path in run.folder.glob("state.sqlite*"))
    return Mark(n_items, n_events, time.monotonic() - since_s, *spent_ms, _rss_MB(), size / 2**20)


def restart(folder: Path, *, with_set: bool) -> tuple[float, float, float]:
    """Return wall and CPU seconds until a run is ready for its first new job, and its memory, in a new process."""
    pid = os.fork()
    if pid == 0:
        start_s, start_cpu_s = time.monotonic(), time.process_time()
        run = opened(folder, with_set=with_set)
        run.runner(live=True).step(0.0)
        seconds, cpu_s = time.monotonic() - start_s, time.process_time() - start_cpu_s
        (folder / "restart").write_text(f"{seconds} {cpu_s} {_rss_MB()}", encoding="ascii")
        os._exit(0)
    os.waitpid(pid, 0)
    seconds, cpu_s, rss_MB = (folder / "restart").read_text(encoding="ascii").split()
    return float(seconds), float(cpu_s), float(rss_MB)


def journal_rates(folder: Path) -> tuple[float, float]:
    """Return events a second that the journal makes durable: one by one, and by 200."""
    run = opened(folder, with_set=False)
    rates = []
    for size, count in ((1, 500), (200, 100)):
        start_s = time.monotonic()
        for number in range(count):
            made = [
                run.bus.make(
                    events.MetricReported, stage_id="s", item_id=f"i{number}.{at}", name="n", value=1.0, unit=""
                )
                for at in range(size)
            ]
            run.bus.publish_many(made)
        rates.append(size * count / (time.monotonic() - start_s))
    run.close()
    return rates[0], rates[1]


def store_cost_ms(folder: Path, n_products: int) -> float:
    """Return milliseconds to commit a small product durably, with the real store."""
    store = Store(folder / "store")
    profile, spent_s = np.ones((2, 300), np.float32), 0.0
    for number in range(n_products):
        scratch = store.scratch("ctf", f"key{number}", 1)
        (scratch / "product").mkdir()
        products.save(CtfFit(f"m{number}", 1e4, 9e3, 10.0, profile=profile), scratch / "product")
        (scratch / "log.txt").write_text("fitted", encoding="ascii")
        start_s = time.monotonic()
        store.commit(scratch, "ctf", f"i{number}", f"key{number}", job={})
        spent_s += time.monotonic() - start_s
    return 1000 * spent_s / n_products


def outlook(marks: Sequence[Mark], n_items: int) -> list[str]:
    """Return what so many items would come to, by straight lines through the marks but the first third of them."""
    kept = marks[len(marks) // 3 :]
    at = [float(mark.n_items) for mark in kept]
    due_ms = 3.6e6 / (N_MICROSCOPES * PER_HOUR)
    found = []
    for what, values in (("CPU", [mark.item_cpu_ms for mark in kept]), ("wall", [mark.item_ms for mark in kept])):
        start, slope, error = _line(at, values)
        said = f"{what} an item: {start:.2f} ms + ({1e6 * slope:.1f} ± {1e6 * error:.1f}) ns x items"
        if slope <= 2 * error:  # no growth that could be told from noise: nothing to extend
            found.append(
                f"{said}: no growth seen; {np.mean(values):.2f} ms of the {due_ms:.0f} ms until the next is due"
            )
            continue
        reach = (due_ms - start) / slope
        found.append(f"{said}: {start + slope * n_items:.0f} ms at the end; it keeps up with {reach:.3g} items")
    for what, values, unit, limit in (
        ("memory", [mark.rss_MB for mark in kept], "MB", 300.0),
        ("database", [mark.database_MB for mark in kept], "MB", 0.0),
    ):
        start, slope, _ = _line(at, values)
        said = (
            f"{what}: {start:.0f} {unit} + {1024 * slope:.2f} kB x items: {start + slope * n_items:.4g} {unit} in all"
        )
        found.append(said + (f"; {limit:.0f} MB are reached with {(limit - start) / slope:.3g} items" if limit else ""))
    each = (marks[-1].n_events - marks[0].n_events) / (marks[-1].n_items - marks[0].n_items)
    found.append(
        f"events: {each:.1f} an item, {each * n_items:.3g} in all, {1000 * each / due_ms:.0f} events/s as items arrive"
    )
    return found


def _line(at: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """Return start, slope and standard error of the slope of a straight line."""
    if len(at) < 3:
        return float(np.mean(values)), 0.0, float("inf")
    (slope, start), residual, *_ = np.polyfit(at, values, 1, full=True)
    spread = np.sum((np.array(at) - np.mean(at)) ** 2)
    error = np.sqrt((residual[0] if len(residual) else 0.0) / (len(at) - 2) / spread)
    return float(start), float(slope), float(error)


def _rss_MB() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main(words: Sequence[str]) -> int:
    """Run the campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=4.0, help="of 24 microscopes, to be gone through for real")
    parser.add_argument("--days", type=float, default=7.0, help="to look out to")
    parser.add_argument("--marks", type=int, default=12)
    parser.add_argument("--with-set", action="store_true", help="add a stage over the set, every 1000 items")
    parser.add_argument("--store", type=int, default=500, help="products committed for real, to know what that costs")
    parser.add_argument("--folder", type=Path, help="on the disk that is meant; a temporary one by default")
    options = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="plane-", dir=options.folder))
    say = sys.stdout.write
    single, grouped = journal_rates(folder / "rates")
    say(f"journal: {single:.0f} events/s one by one, {grouped:.0f} events/s by 200, each durable on return\n")
    say(f"store: {store_cost_ms(folder, options.store):.1f} ms for a small product of three files\n{HEAD}\n")
    marks = []
    n_items = int(options.hours * N_MICROSCOPES * PER_HOUR)
    for mark in session(folder, n_items, n_marks=options.marks, with_set=options.with_set):
        marks.append(mark)
        say(mark.line() + "\n")
        sys.stdout.flush()
    rate = marks[-1].n_events / marks[-1].wall_s
    say(f"{rate:.0f} events/s and {marks[-1].n_items / marks[-1].wall_s:.0f} items/s gone through\n")
    seconds, cpu_s, rss_MB = restart(folder, with_set=options.with_set)
    say(f"restart with {marks[-1].n_items} items: {seconds:.1f} s ({cpu_s:.1f} s CPU), {rss_MB:.0f} MB\n")
    n_all = int(options.days * 24 * N_MICROSCOPES * PER_HOUR)
    say("\n".join([f"{options.days:g} days, {n_all} items:", *outlook(marks, n_all), ""]))
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
