"""What a session costs when nothing happens, and what an item costs when it does."""

from __future__ import annotations

import time

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import Service


def overheads(room: Room, verdict: Verdict) -> None:
    """An idle session's CPU and memory with 1 000 files known, and what an item costs beside its stage."""
    facility = Facility(
        room.folder, stages={"ctf": "pass"}, run={"executor": "processes"}, watch={"poll_s": 5.0}
    ).write()
    n_files = max(60, min(1000, room.size(1000)))
    for number in range(n_files):
        facility.put(f"{number % 10}/{number:05d}.dat", number)
    with Service(facility) as service:
        service.until("SELECT count(*) FROM tasks WHERE status='done'", lambda n: n >= n_files)
        time.sleep(6.0)
        before, start_s = service.usage(), time.monotonic()
        time.sleep(max(15.0, 60.0 * min(1.0, room.scale)))
        after, took_s = service.usage(), time.monotonic() - start_s
        service.stop()
    verdict.figure("idle CPU", 100 * (after.cpu_s - before.cpu_s) / took_s, "% of a core", 1.0)
    verdict.figure("idle memory", after.rss_MB, "MB", 120.0)
    spent = sorted(said["seconds"] for name, said in history.events(facility.out) if name == "StageFinished")
    verdict.figure("process of an item, median", 1e3 * spent[len(spent) // 2], "ms", 20.0)
    verdict.figure("database of a file", _bytes(facility) / n_files, "bytes")


def _bytes(facility: Facility) -> int:
    return (facility.out / "state.sqlite").stat().st_size
