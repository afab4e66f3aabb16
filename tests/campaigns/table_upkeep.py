"""What keeping the table and the page of a session costs by the number of its items, while more land.

``python tests/campaigns/table_upkeep.py --items 1000 10000 100000`` fills a run folder with the events of so many
movies of five stages, written in bulk, then lets some more come at ``--per-hour`` for ``--seconds`` while the keeper is
at work as `cryoframe watch` starts it. CPU seconds are of the keeper and its children.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryoframe.execution.exposures import TABLE
from cryoframe.records import events, session_events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import Event
from cryoframe.records.journal import Journal
from cryoframe.view.keeping import kept_current

Figures = dict[str, str | int | float | bool]
_MOTION: Figures = {
    "motion_total_A": 21.5, "motion_early_A": 9.1, "n_frames": 40, "dose_e_A2": 40.0, "pixel_size_A": 0.83,
    "counts_1_px": 24.0,
}  # fmt: skip
_FIT: Figures = {
    "defocus_u_A": 14250.5, "defocus_v_A": 13980.25, "defocus_angle_deg": 31.5, "phase_shift_deg": 0.0,
    "fit_resolution_A": 3.9, "ctf_score": 0.31, "ctf_confidence_frac": 0.99, "ctf_accepted": True, "ctf_verdict": "",
    "tilt_deg": 1.5, "ice_thickness_A": 350.0,
}  # fmt: skip
STAGES: tuple[tuple[str, str, Figures, tuple[str, ...]], ...] = (
    ("motion", "CorrectedMicrograph", _MOTION, ("drift.png", "sum.png")),
    ("ctf", "CtfFit", _FIT, ("ctf.png",)),
    ("clean", "MicrographVerdict", {"verdict": "good", "excluded_frac": 0.03}, ("usable.png",)),
    ("picks", "ParticleTable", {"n_picks": 231}, ("picks.png",)),
    ("boxes", "ParticleStack", {"n_particles": 228}, ()),
)
ROOT = "/facility/krios2/session"
AT_ONCE = 200


@dataclass
class Maker:
    """Publishes what a session says of its movies."""

    bus: Bus

    def fill(self, numbers: range) -> None:
        """Publish all events of these movies, in bulk."""
        for first in range(numbers.start, numbers.stop, AT_ONCE):
            some = range(first, min(first + AT_ONCE, numbers.stop))
            self.bus.publish_many([event for number in some for event in self.told(number)])

    def told(self, number: int) -> Iterator[Event]:
        """Yield the events of a movie; one in 400 is refused, one in 500 given up."""
        path = f"GridSquare_{number // 500:05d}/FoilHole_{number:08d}_fractions.tiff"
        where, make = {"path": path, "root": ROOT}, self.bus.make
        yield make(events.FileSeen, **where, size=300 << 20, mtime_ns=number, ctime_ns=number)
        if number % 400 == 7:
            yield make(events.FileRejected, **where, reason="the file ends in the middle of frame 31", kind="Truncated")
            return
        digest = f"{number:064x}"
        yield make(events.FileSettled, **where, size=300 << 20, mtime_ns=number, ctime_ns=number, digest=digest)
        facts: dict[str, str | int | float | bool] = {"n_frames": 40, "pixel_size_A": 0.83, "dose_e_A2": 40.0}
        yield make(events.ItemAdmitted, item_id=path, kind="Movie", digest=digest, path=f"{ROOT}/{path}", facts=facts)
        for stage, kind, figures, pictures in STAGES:
            yield from self._done(stage, path, f"{number:056x}{stage[:4]:0>8}", kind, figures, pictures)
            if number % 500 == 3:
                yield make(events.StageGivenUp, stage_id=stage, item_id=path, key="k", reason="killed: out of memory")
                return

    def _done(
        self, stage: str, item: str, key: str, kind: str, figures: Figures, pictures: tuple[str, ...]
    ) -> Iterator[Event]:
        task, make = {"stage_id": stage, "item_id": item, "key": key}, self.bus.make
        yield make(events.StageQueued, **task)
        yield make(events.StageStarted, **task, attempt=1, worker="w1", device="cpu")
        yield make(events.ProductSaved, key=key, kind=kind, digest="d" * 64, path=f"stages/{stage}/{key}")
        yield make(
            events.ProductDescribed, **task, kind=kind, path=f"stages/{stage}/{key}/shown", figures=dict(figures),
            pictures=dict.fromkeys(pictures, "d" * 64),
        )  # fmt: skip
        yield make(events.StageFinished, **task, digest="d" * 64, seconds=9.1, cpu_s=9.0, peak_MB=1100.0)


def filled(folder: Path, n_items: int) -> tuple[Database, Maker]:
    """Return a run's database with so many movies dealt with."""
    folder.mkdir(parents=True, exist_ok=True)
    database = Database.open(folder / "state.sqlite")
    maker = Maker(Bus(Journal(database), "upkeep"))
    maker.bus.publish(events.RunOpened, folder=str(folder), config_digest="d")
    there = int(str(database.read("SELECT count(*) FROM files")[0][0]))
    maker.fill(range(there, n_items))
    now = (datetime.now(UTC) - timedelta(seconds=20)).isoformat(timespec="seconds")
    maker.bus.publish(session_events.Reconciled, root=ROOT, generation=1, n_files=n_items, up_to_utc=now)
    return database, maker


def cpu_s() -> float:
    """Return what this process' children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, n_items: int, *, per_hour: float, seconds: float) -> str:
    """Let movies come for a while, and return what the keeper took for it."""
    database, maker = filled(folder, n_items)
    before_s, start_s, landed = cpu_s(), time.monotonic(), n_items
    first_s = 0.0
    gap_s = 3600.0 / per_hour
    with kept_current(maker.bus, folder, apart=True):
        while time.monotonic() < start_s + seconds:
            time.sleep(gap_s)
            maker.fill(range(landed, landed + 1))
            landed += 1
            if not first_s and (folder / TABLE).is_file():
                first_s = time.monotonic() - start_s
    spent_s, wall_s = cpu_s() - before_s, time.monotonic() - start_s
    database.close()
    size_MB = (folder / TABLE).stat().st_size / 1e6
    return (
        f"{n_items:>8} items: {spent_s:.2f} CPU s in {wall_s:.0f} s with {landed - n_items} more: "
        f"{100 * spent_s / wall_s:.2f} % of a core; first table after {first_s:.0f} s; table {size_MB:.1f} MB"
    )


def main(words: Sequence[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--per-hour", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--folder", type=Path, help="kept, and used again; a temporary one by default")
    parser.add_argument("--fill-only", action="store_true")
    options = parser.parse_args(words)
    parent = options.folder or Path(tempfile.mkdtemp(prefix="upkeep-"))
    for n_items in options.items:
        folder = parent / str(n_items)
        if options.fill_only:
            filled(folder, n_items)[0].close()
            continue
        sys.stdout.write(measure(folder, n_items, per_hour=options.per_hour, seconds=options.seconds) + "\n")
        sys.stdout.flush()
    if options.folder is None:
        shutil.rmtree(parent)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
