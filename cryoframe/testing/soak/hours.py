"""Hours of a session at ten times the rate of a microscope, with a fault every few minutes. LT10."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryoframe.testing.soak import history
from cryoframe.testing.soak.facility import Facility
from cryoframe.testing.soak.score import Room, Verdict
from cryoframe.testing.soak.service import Service, Usage

#: A thousand movies an hour, ten times as fast; a fault every ten minutes, ten times as often.
RATE_1_S, FAULT_EVERY_S, HOUR_S = 10_000 / 3600, 60.0, 3600.0
STAGES = ("ctf", "pick", "box")
#: Every fortieth image makes its plugin fail in a way that it does not survive.
CTF = "if int(micrograph.data[0, 0]) % 40 == 3 and int(micrograph.data[0, 1]) % 2: os.kill(os.getpid(), 11)"


@dataclass
class _Session:
    """A session that goes on through its faults."""

    facility: Facility
    service: Service
    n_landed: int = 0
    n_bad: int = 0
    faults: list[str] = field(default_factory=list)
    samples: list[tuple[float, Usage]] = field(default_factory=list)
    n_kills: int = 0

    def kill(self) -> None:
        """The daemon is killed and started again."""
        self.samples += self.service.samples
        self.service.kill()
        self.service, self.n_kills = Service(self.facility), self.n_kills + 1

    def share_goes(self) -> None:
        """The share is away for ten seconds."""
        away = self.facility.land.with_name("away")
        self.facility.land.rename(away)
        time.sleep(10.0)
        away.rename(self.facility.land)

    def half_a_file(self) -> None:
        """A file is left half-written."""
        (self.facility.land / f"half{self.n_bad}.dat").write_bytes(bytes(17))
        self.n_bad += 1

    def burst(self) -> None:
        """Two hundred files come at once."""
        for _ in range(200):
            self.land()

    def clutter(self) -> None:
        """Files that are none of ours, by the hundred."""
        for number in range(100):
            (self.facility.land / f"clutter-{self.n_landed}-{number}.txt").touch()

    def workers_die(self) -> None:
        """Every process that the daemon started is killed."""
        import os
        import signal
        from contextlib import suppress

        from cryoframe.testing.soak.service import family

        for pid in family(self.service.process.pid)[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def land(self) -> None:
        """Land an image."""
        self.facility.put(f"grid{self.n_landed // 1000:03d}/{self.n_landed:06d}.dat", self.n_landed)
        self.n_landed += 1


def hours(room: Room, verdict: Verdict) -> None:
    """LT10: the long session, of `room.hours`; memory, handles and the log do not grow, the states add up."""
    facility = Facility(
        room.folder,
        stages={"ctf": CTF, "pick": "pass", "box": "pass"},
        run={"executor": "processes", "workers": 2},
        watch={"poll_s": 2.0},
    ).write()
    now, chance = _Session(facility, Service(facility)), random.Random(room.seed)
    now.service.until_at_work()
    start_s = time.monotonic()
    end_s, next_fault_s = start_s + room.hours * HOUR_S, start_s + FAULT_EVERY_S / 2
    #: Killing sets the memory back; so it is done in the first quarter alone, and growth is judged after that.
    kinds: list[Callable[[], None]] = [now.share_goes, now.half_a_file, now.burst, now.clutter, now.workers_die]
    while time.monotonic() < end_s:
        now.land()
        time.sleep(1 / RATE_1_S)
        if time.monotonic() >= next_fault_s:
            early = time.monotonic() - start_s < room.hours * HOUR_S / 4
            fault = chance.choice([*kinds, now.kill] if early else kinds)
            now.faults.append(fault.__name__)
            fault()
            next_fault_s = time.monotonic() + FAULT_EVERY_S
    n_files = now.n_landed + now.n_bad
    now.service.until("SELECT count(*) FROM files WHERE status IN ('settled', 'rejected')", lambda n: n >= n_files)
    settled = "SELECT count(*) FROM tasks WHERE stage_id='box' AND status='done'"
    n_good = now.n_landed - sum(_is_bad(number) for number in range(now.n_landed))
    now.service.until(settled, lambda n: n >= n_good)
    time.sleep(5.0)
    now.service.stop()
    _judge(verdict, now, n_good)


def _is_bad(number: int) -> bool:
    return (number & 0xFF) % 40 == 3 and bool((number >> 8 & 0xFF) % 2)


def _judge(verdict: Verdict, now: _Session, n_good: int) -> None:
    log = history.events(now.facility.out)
    landed = {f"grid{number // 1000:03d}/{number:06d}.dat" for number in range(now.n_landed)}
    verdict.count("lost or twice", history.landing_violations(log, landed), now.n_landed)
    done: dict[tuple[str, str], int] = {}
    for name, said in log:
        if name in history.DONE:
            done[said["stage_id"], said["item_id"]] = done.get((said["stage_id"], said["item_id"]), 0) + 1
    verdict.count("effects beyond one", [str(task) for task, count in done.items() if count > 1], len(done))
    n_boxed = sum(stage == "box" for stage, _ in done)
    verdict.count("items without their last product", ["one"] * (n_good - n_boxed), n_good)
    verdict.count("torn or left over", history.file_violations(now.facility.out, log), len(done))
    on_disk = {
        path.relative_to(now.facility.land).as_posix() for path in now.facility.land.rglob("*") if path.is_file()
    }
    states = {path for (path,) in history.ask(now.facility.out, "SELECT path FROM files")}
    verdict.count("files without a state", sorted(on_disk ^ states), len(on_disk))
    samples = now.service.samples
    half = samples[len(samples) // 2 :]
    verdict.figure("faults", len(now.faults))
    verdict.figure("daemon's memory", max(used.rss_MB for _, used in samples), "MB", 300.0)
    verdict.figure("growth of memory in the second half", _slope(half, lambda used: used.rss_MB), "MB/h", 1.0)
    for what in ("n_fds", "n_threads"):
        counts = [getattr(used, what) for _, used in half]
        verdict.figure(f"spread of {what}", max(counts) - min(counts), "", 10)
    size = (now.facility.out / "state.sqlite").stat().st_size / (3 * now.n_landed)
    verdict.figure("database of a task", size, "bytes", 2000.0)
    verdict.notes.append(f"faults: {', '.join(f'{name} {now.faults.count(name)}' for name in sorted(set(now.faults)))}")


def _slope(samples: list[tuple[float, Usage]], figure: Callable[[Usage], float]) -> float:
    """Return the growth an hour, by least squares."""
    times = [at_s / HOUR_S for at_s, _ in samples]
    values = [figure(used) for _, used in samples]
    mean_h, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at_h - mean_h) ** 2 for at_h in times)
    return sum((h - mean_h) * (v - mean) for h, v in zip(times, values, strict=True)) / spread if spread else 0.0
