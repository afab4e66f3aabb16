"""Files landing by the thousand: in a burst, polled, under kills, all there at the start. LT1 to LT4."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path

from cryoframe.errors import EnvironmentFault
from cryoframe.testing.soak import history, share
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import Service, order

N_FOLDERS = 100
SHARE_CACHE_S = 5.0
ADMITTED = "SELECT count(*) FROM items"
SEEN = "SELECT count(*) FROM files"


class Landing:
    """Files that land at a rate, and when each did."""

    def __init__(self, facility: Facility, n_files: int, rate_1_s: float, *, into: Path | None = None) -> None:
        self.facility, self.n_files, self.rate_1_s = facility, n_files, rate_1_s
        #: Where they are written, if they are seen elsewhere.
        self.into = into
        self.at_ns: dict[str, int] = {}
        self._thread = threading.Thread(target=self._land)

    def begin(self) -> None:
        """Start."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until all have landed."""
        self._thread.join()

    @property
    def is_over(self) -> bool:
        """Whether all have landed."""
        return not self._thread.is_alive()

    def _land(self) -> None:
        start_s = time.monotonic()
        for number in range(self.n_files):
            name = f"grid{number % N_FOLDERS:02d}/{number:06d}.dat"
            self.facility.put(name, number, into=self.into)
            self.at_ns[name] = time.time_ns()
            time.sleep(max(0.0, start_s + (number + 1) / self.rate_1_s - time.monotonic()))


def burst(room: Room, verdict: Verdict) -> None:
    """LT1: 100 000 files at 1 000/s; nothing is started, and nothing read before all have landed: each is measured."""
    n_files, rate_1_s = room.size(100_000, 500), 1000.0
    facility = Facility(room.folder, watch={"poll_s": 2.0, "settle_s": 5.0 + n_files / rate_1_s}).write()
    with Service(facility) as service:
        _held(service)
        landing = Landing(facility, n_files, rate_1_s)
        before, start_s = service.usage(), time.monotonic()
        landing.begin()
        landing.wait()
        service.until(SEEN, lambda n: n >= landing.n_files)
        after, seen_s = service.usage(), time.monotonic() - start_s
        n_then = history.ask(facility.out, ADMITTED)[0][0]
        service.until(ADMITTED, lambda n: n > n_then)
        first_s = time.monotonic()
        service.until(ADMITTED, lambda n: n >= landing.n_files)
        all_s, used = time.monotonic() - first_s, service.usage()
        service.stop()
    late_s = _judge(verdict, landing)
    verdict.figure("seen, p99", late_s[int(0.99 * len(late_s))], "s", 5.0)
    verdict.figure("CPU until all were seen", 100 * (after.cpu_s - before.cpu_s) / seen_s, "% of a core", 25.0)
    verdict.figure("CPU an admitted file, all told", 1e3 * (used.cpu_s - before.cpu_s) / landing.n_files, "ms")
    verdict.figure("admitted before all were seen", n_then)
    verdict.figure("admitted then", (landing.n_files - n_then) / all_s, "files/s")
    verdict.figure("daemon's memory", service.peak_MB(), "MB", 300.0)
    verdict.figure("database", _kB(facility) / landing.n_files, "kB a file", 2.0)


def polled(room: Room, verdict: Verdict) -> None:
    """LT2: 20 000 files at 200/s behind a share that caches for 5 s: no kernel hint, a rescan every 10 s."""
    settle_s = 2 * SHARE_CACHE_S  # what is asked of it may be as old as the cache
    facility = Facility(room.folder, watch={"poll_s": 10.0, "settle_s": settle_s, "observer": "auto"}).write()
    with contextlib.ExitStack() as stack:
        back: Path | None = room.folder / "back"
        try:
            stack.enter_context(share.mounted(room.folder / "back", facility.land, SHARE_CACHE_S))
        except EnvironmentFault as error:
            back = None
            verdict.notes.append(f"a share's caches are not emulated ({error.what}); the rescan is all there is")
            facility = Facility(room.folder, watch={"poll_s": 10.0, "observer": "polling"}).write()
        service = stack.enter_context(Service(facility))
        _held(service)
        landing = Landing(facility, room.size(20_000, 300), 200.0, into=back)
        landing.begin()
        landing.wait()
        service.until(ADMITTED, lambda n: n >= landing.n_files)
        service.stop()
    late_s = _judge(verdict, landing)
    verdict.figure("seen, p99", late_s[int(0.99 * len(late_s))], "s", 30.0)
    verdict.figure("share's attributes and names are kept for", SHARE_CACHE_S if back else 0.0, "s")
    verdict.figure("daemon's memory", service.peak_MB(), "MB", 300.0)


def killed(room: Room, verdict: Verdict) -> None:
    """LT3: as LT1, and the daemon is killed every 2 to 6 s."""
    facility, chance = Facility(room.folder, watch={"poll_s": 1.0}).write(), random.Random(room.seed)
    service = Service(facility)
    _held(service)
    landing = Landing(facility, room.size(100_000, 1000), 1000.0 if room.scale > 0.2 else 200.0)
    landing.begin()
    n_kills = 0
    while not landing.is_over or n_kills < 2:
        time.sleep(chance.uniform(2.0, 6.0))
        service.kill()
        n_kills, service = n_kills + 1, Service(facility)
    with service:
        service.until(ADMITTED, lambda n: n >= landing.n_files)
        service.stop()
    late_s = _judge(verdict, landing)
    verdict.figure("kills", n_kills)
    verdict.figure("seen, worst", late_s[-1], "s")
    verdict.count("database damage", history.database_violations(facility.out), n_kills)


def late(room: Room, verdict: Verdict) -> None:
    """LT4: 100 000 files are there when the daemon starts, and it is started five times more."""
    facility = Facility(room.folder, watch={"poll_s": 2.0}).write()
    landing = Landing(facility, room.size(100_000, 1000), 1e9)
    landing.begin()
    landing.wait()
    with Service(facility) as service:
        _held(service)
        all_s, used = service.until(ADMITTED, lambda n: n >= landing.n_files), service.usage()
        service.stop()
    verdict.figure("all admitted", all_s, "s", 120.0)
    verdict.figure("CPU an admitted file, starting included", 1e3 * used.cpu_s / landing.n_files, "ms")
    verdict.figure("database", _kB(facility) / landing.n_files, "kB a file", 2.0)
    taken_up_s = []
    for _ in range(4):
        with Service(facility) as service:
            taken_up_s.append(service.until_at_work())
            service.stop()
    verdict.figure("restart to the first rescan accounted for, worst", max(taken_up_s), "s")
    _judge(verdict, landing)
    order("resume", facility)
    n_events = history.ask(facility.out, "SELECT max(seq) FROM events")[0][0]
    with Service(facility) as service:
        first = f"SELECT count(*) FROM log WHERE name='StageFinished' AND seq>{n_events}"
        verdict.figure("restart to the first job done", service.until(first, lambda n: n > 0), "s", 30.0)
        verdict.figure("daemon's memory", service.peak_MB(), "MB", 300.0)


def _kB(facility: Facility) -> float:
    return (facility.out / "state.sqlite").stat().st_size / 1000


def _held(service: Service) -> None:
    """Let nothing be started: what lands is queued."""
    service.until_at_work()
    order("pause", service.facility)


def _judge(verdict: Verdict, landing: Landing) -> list[float]:
    """Judge what was admitted; returns how late each file was seen, in order."""
    log = history.events(landing.facility.out)
    found = history.landing_violations(log, landing.at_ns)
    verdict.count("lost, twice or out of order", found, landing.n_files)
    seen: dict[str, int] = {}
    for name, content in log:
        if name == "FileSeen":
            seen.setdefault(content["path"], history.at_ns(content))
    verdict.count("never seen", sorted(landing.at_ns.keys() - seen.keys()), landing.n_files)
    return sorted(max(0.0, (seen[name] - at_ns) / 1e9) for name, at_ns in landing.at_ns.items() if name in seen)
