"""More than a session can take at once: movies of many gigabytes, arrivals ten times too fast. LT11 and LT12."""

from __future__ import annotations

import time
from pathlib import Path

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.incomplete import mrc_header
from cryoframe.testing.soak.landing import Landing
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import PATIENCE_S, Service

SIDE_PX, GB = 4096, 1 << 30
#: What an item takes where more come than can be done.
WORK_S = 0.2
#: Reads every frame, as a stage has to, and keeps one.
STREAM = """\
total = np.zeros(movie.shape_px, np.float32)
    for frame in movie.frames():
        total += frame
    still = np.zeros(movie.n_frames, np.float32)
    motion = MotionTable.from_columns({
        "frame": np.arange(movie.n_frames, dtype=np.int32), "patch_x_A": still + np.nan, "patch_y_A": still + np.nan,
        "shift_x_A": still, "shift_y_A": still,
    })
    return CorrectedMicrograph(Micrograph(movie.movie_id, total, movie.pixel_size_A, optics=movie.optics), motion)"""
DONE = "SELECT count(*) FROM tasks WHERE status='done'"


def big(room: Room, verdict: Verdict) -> None:
    """LT11: a movie of 10 GB, and 20 of 3 GB at once; sparse, so that the disk is not what is measured."""
    facility = Facility(
        room.folder,
        stages={"motion": STREAM},
        run={"executor": "processes", "workers": 2},
        watch={"kind": "movies", "patterns": "*.mrc", "long_settle_s": 1.0},
        stage={"memory_MB": 2048},
        inputs="[movies]\npixel_size_A = 1.0",
    ).write()
    sizes = [room.size(10 * GB, 1 << 26)] + [room.size(3 * GB, 1 << 26)] * 20
    with Service(facility) as service:
        service.until_at_work()
        for number, size in enumerate(sizes):
            _sparse(facility.land / f"m{number:02d}.mrc", size // SIDE_PX**2, number)
        start_s = time.monotonic()
        service.until(DONE, lambda n: n >= len(sizes))
        took_s = time.monotonic() - start_s
        service.stop()
    log = history.events(facility.out)
    items = {f"m{number:02d}.mrc" for number in range(len(sizes))}
    verdict.count("lost, twice, torn", history.violations(facility.out, items, ["motion"]), len(sizes))
    peaks = [said["peak_MB"] for name, said in log if name == "StageFinished"]
    verdict.figure("a worker's memory", max(peaks), "MB", 2000.0)
    verdict.figure("daemon's memory", service.peak_MB(), "MB", 300.0)
    verdict.figure("attempts at once, most", history.most_at_once(log), "", 2)
    verdict.figure("largest movie", sizes[0] / GB, "GB")
    verdict.figure("read and summed", sum(sizes) / GB / took_s, "GB/s")


def _sparse(path: Path, n_frames: int, number: int) -> None:
    size = (float(SIDE_PX), float(SIDE_PX), float(n_frames))
    with path.open("wb") as out:
        out.write(mrc_header(SIDE_PX, n_frames, size))
        out.write(bytes([1 + number]) * SIDE_PX)
        out.truncate(1024 + n_frames * SIDE_PX**2)


def slow(room: Room, verdict: Verdict) -> None:
    """LT12: arrivals ten times faster than the work for some minutes, then silence; the newest go first."""
    n_files, rate_1_s = room.size(10_000, 300), 50.0
    facility = Facility(
        room.folder,
        stages={"ctf": f"time.sleep({WORK_S})"},
        watch={"poll_s": 1.0, "order": "newest"},
    ).write()
    with Service(facility) as service:
        service.until_at_work()
        landing = Landing(facility, n_files, rate_1_s)
        landing.begin()
        landing.wait()
        n_then = float(history.ask(facility.out, DONE)[0][0])
        before_MB = service.usage().rss_MB
        service.until(DONE, lambda n: n >= min(n_files, n_then + 50))
        after_MB = service.usage().rss_MB
        service.until(DONE, lambda n: n >= n_files, timeout_s=PATIENCE_S + 2 * n_files * WORK_S)
        service.stop()
    log = history.events(facility.out)
    verdict.count("lost or twice", history.violations(facility.out, set(landing.at_ns), ["ctf"]), n_files)
    verdict.figure("done when the last had landed", 100 * n_then / n_files, "%")
    verdict.figure("growth of memory in the backlog", after_MB - before_MB, "MB", 20.0)
    verdict.figure("daemon's memory", service.peak_MB(), "MB", 300.0)
    verdict.figure("newest result while they came, age", _age_s(log, landing), "s", 60.0)


def _age_s(log: history.Log, landing: Landing) -> float:
    """Return how old the newest file with a result was, at worst, from the first result until the last landing."""
    last_ns, newest_ns, worst_s = max(landing.at_ns.values()), 0, 0.0
    for name, said in log:
        at_ns = history.at_ns(said)
        if newest_ns and at_ns <= last_ns:
            worst_s = max(worst_s, (at_ns - newest_ns) / 1e9)
        if name == "StageFinished":
            newest_ns = max(newest_ns, landing.at_ns[said["item_id"]])
    return worst_s
