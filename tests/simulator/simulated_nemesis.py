"""What a seed has in store for a session: how it is set up, which faults befall it, when, and for how long."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from simulated_microscope import Habits
from simulated_world import Killed

from cryoframe.execution import control, ledger, sweep
from cryoframe.records import journal, state
from cryoframe.watch import accounts, daemon, doorstep, entrance, intake, rescans, roots, scanner
from cryoframe.watch.accounts import Tick

if TYPE_CHECKING:
    from simulated_session import Session

HOUR_S = 3600.0
#: Places at which the disk of the run may refuse: within what turns its errors into words.
STORE_PLACES = frozenset(
    f"store.{name}"
    for name in (
        "digested", "job_written", "files_synced", "scratch_synced", "parent_made", "before_rename", "renamed",
        "parent_synced",
    )
)  # fmt: skip
DATABASE_PLACES = ("journal.begun", "journal.inserted", "journal.folded")


@dataclass
class Plan:
    """What was drawn of a seed."""

    kind: str
    habits: Habits
    n_files: int
    storm_s: float
    poll_s: float
    workers: int
    stages: tuple[str, ...]
    stage: dict[str, object]
    metadata: str
    order: str
    is_expected: bool
    p_hint: float
    p_killed: float
    p_rare: float
    #: That the disk of the run refuses one call and takes the next; that a helper dies, that an attempt goes wrong.
    p_refused: float
    p_dies: float
    p_wrong: float
    knobs: dict[tuple[str, str], float]
    faults: tuple[str, ...] = ()
    #: A setting of the stages, which enters the keys of what they make.
    low_A: float = 30.0


def drawn(seed: int) -> Plan:
    """Draw a plan."""
    chance = random.Random(f"{seed} plan")
    kind = chance.choice(("micrographs", "movies"))
    settle_s = chance.choice((5.0, 20.0, 60.0))
    habits = Habits(
        suffixes=(".mrc",) if kind == "micrographs" else chance.choice(((".mrc",), (".mrc", ".tif"), (".tif",))),
        settle_s=settle_s,
        long_settle_s=settle_s * chance.choice((5.0, 15.0)),
        kinds=tuple(chance.sample(KINDS, chance.randrange(2, len(KINDS) + 1))),
        p_later=chance.choice((0.0, 0.2, 0.6)),
        side_cars=chance.random() < 0.5,
    )
    stages = ("ctf:first", "pick:second") if kind == "micrographs" else ("motion:first", "ctf:second")
    return Plan(
        kind=kind,
        habits=habits,
        n_files=chance.choice((8, 20, 40, 70)),
        storm_s=chance.choice((1.0, 2.0, 4.0)) * HOUR_S,
        poll_s=chance.choice((5.0, 30.0, 120.0)),
        workers=chance.choice((1, 2, 8)),
        stages=stages[: chance.choice((1, 2, 2))],
        stage={"timeout_s": chance.choice((100.0, 3000.0)), "attempts": chance.choice((2, 3))},
        metadata=chance.choice(("none", "none", "optional")) if habits.side_cars else "none",
        order=chance.choice(("oldest", "newest")),
        is_expected=kind == "movies" and chance.random() < 0.3,
        p_hint=chance.choice((0.0, 0.02, 0.2)),
        p_killed=chance.choice((0.0, 0.0, 1e-4, 1e-3)),
        p_rare=chance.choice((0.0, 0.05, 0.3)),
        p_refused=chance.choice((0.0, 0.0, 0.003, 0.03)),
        p_dies=chance.choice((0.0, 0.1)),
        p_wrong=chance.choice((0.0, 0.05)),
        knobs=_knobs(chance),
        faults=tuple(sorted(chance.sample(sorted(FAULTS), chance.randrange(len(FAULTS) + 1)))),
    )


KINDS = ("at_once", "grows", "reserved", "zeroed", "parted", "cut", "odd")


def _knobs(chance: random.Random) -> dict[tuple[str, str], float]:
    """Draw limits and budgets: as they are, or so small that each is met."""
    drawn: dict[tuple[str, str], float] = {}
    for module, name, *values in _LIMITS:
        if chance.random() < 0.5:
            drawn[module.__name__, name] = chance.choice(values)
    drawn |= {(daemon.__name__, "STEP_S"): chance.choice((5.0, 20.0))}
    drawn |= {(daemon.__name__, "MAX_WAIT_S"): chance.choice((20.0, 60.0)), (scanner.__name__, "END_BYTES"): 1}
    return drawn


_LIMITS: tuple[tuple[Any, ...], ...] = (
    (scanner, "PAGE", 1, 2, 7), (scanner, "FEW", 0, 3), (scanner, "CHEAP_S", 0.0), (scanner, "FULL_EVERY", 100.0, 1e4),
    (roots, "BATCH", 1, 3), (entrance, "GROUP", 1, 2, 5), (entrance, "LINGER_S", 0.0, 5.0),
    (entrance, "_GROUP_BYTES", 1, 100), (entrance, "_NAME_BYTES", 1, 300), (daemon, "ADMIT_S", 0.0, 0.01),
    (rescans, "SCANS_APART", 30.0), (rescans, "TAKE_S", 0.03), (rescans, "LINGER_S", 0.0, 1.0),
    (daemon, "LOOKS_A_SETTLING", 1.0, 100.0), (sweep, "LOOK_S", 0.0),
    (sweep, "SLICE_S", 0.0), (sweep, "_AT_ONCE", 1), (journal, "MAX_GROUP", 1), (journal, "_PAGE", 3),
    (ledger, "_RECENT", 1), (intake, "_CHUNK_BYTES", 7, 40), (doorstep, "_MAX_READ", 1), (state, "_PAGE", 2),
    (accounts, "QUIET_S", 0.0, 1e4), (control, "LOOK_S", 0.0, 30.0),
)  # fmt: skip


class Nemesis:
    """Strikes a session.

    Parameters
    ----------
    session
        Whom.
    """

    def __init__(self, session: Session) -> None:
        self._its, self._world, self._plan = session, session.world, session.plan
        self._chance = self._world.chance("nemesis")
        self.is_over = False
        #: Whether the disk of the run refused anything to this process.
        self.was_refused = False
        self.n_ticks, self._bare_s = 0, 0.0
        self.schedule: list[str] = []

    def knobs(self) -> list[Any]:
        """Return the limits to be set."""
        modules = {module.__name__: module for module, *_ in _LIMITS}
        return [mock.patch.object(modules[of], name, value) for (of, name), value in self._plan.knobs.items()]

    # -- at named places ------------------------------------------------------------------------------------------
    def strikes(self, place: str) -> bool:
        """Do what befalls the program at a named place; returns whether it is to do what is rare."""
        self._world.alive()
        if self.is_over:
            return False
        if self._plan.p_killed and self._world.happens(f"killed at {place}", self._plan.p_killed):
            self._world.say(f"killed at {place}")
            raise Killed
        if place in STORE_PLACES:
            self._its.refuse(self._blip())
        if place in DATABASE_PLACES:
            self._its.refuse_database(self._blip())
        if self._world.happens("delay", 0.01):
            self._world.advance(self._chance.choice((0.01, 1.0, 30.0)))
        return self._chance.random() < self._plan.p_rare

    def _blip(self) -> int:
        is_struck = self._world.happens("disk refuses once", self._plan.p_refused)
        return self._chance.choice((errno.ENOSPC, errno.EIO)) if is_struck else 0

    def ticked(self, tick: Tick) -> None:
        """Take note of a rescan."""
        self.n_ticks += 1
        found = {name: count for name, count in tick.counts.items() if count}
        self._world.say(f"rescan {tick.generation} {found} {sorted(tick.offline.values())} {tick.paused}")

    # -- in time ----------------------------------------------------------------------------------------------------
    def arm(self, until_s: float) -> None:
        """Put what is to happen into the calendar."""
        self._its.processes.hardship.p_dies = self._plan.p_dies
        self._its.facilities.toil.p_wrong = self._plan.p_wrong
        for name in self._plan.faults:
            for _ in range(self._chance.randrange(1, 5)):
                at_s = self._chance.uniform(self._world.now_s, until_s)
                self.schedule.append(f"{at_s:10.1f} {name}")
                self._world.at(at_s, f"fault: {name}", self._struck(name))
        self.schedule.sort()

    def _struck(self, name: str) -> Callable[[], None]:
        def strike() -> None:
            if not self.is_over:
                self._world.note(name)
                getattr(self, f"_{name}")()

        return strike

    def _for(self, name: str, least_s: float, most_s: float, over: Callable[[], None]) -> None:
        lasts_s = least_s * (most_s / least_s) ** self._chance.random()
        self._world.after(lasts_s, f"over: {name}", over)

    def _share_away(self) -> None:
        disk = self._its.disk
        if disk.away or disk.is_bare:
            return
        if self._chance.random() < 0.3:
            disk.is_bare, self._bare_s = True, self._world.now_s
        else:
            disk.away = self._chance.choice((errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.ETIMEDOUT, -1))
        self._for("share away", 1.0, 1500.0, self.share_back)

    def share_back(self) -> None:
        if self._its.disk.is_bare:  # what landed meanwhile nobody could see, nor that it could not be seen
            for file in self._its.microscope.files.values():
                file.since_s = self._world.now_s if file.since_s >= self._bare_s else file.since_s
        self._its.disk.away, self._its.disk.is_bare = 0, False
        self._its.processes.share_is_back()

    def _share_refuses(self) -> None:
        self._its.disk.p_refuses = 0.3
        self._for("share refuses", 10.0, 600.0, lambda: setattr(self._its.disk, "p_refuses", 0.0))

    def _folder_locked(self) -> None:
        folders = [folder for name, folder in self._its.disk.folders.items() if name]
        if folders:
            folder = self._chance.choice(folders)
            folder.refuses = errno.EACCES
            self._for("folder locked", 10.0, 1000.0, lambda: setattr(folder, "refuses", 0))

    def _share_lags(self) -> None:
        self._its.disk.stale_s = self._chance.choice((1.0, 5.0))
        self._for("share lags", 100.0, 5000.0, lambda: setattr(self._its.disk, "stale_s", 0.0))

    def _share_slow(self) -> None:
        self._its.disk.latency_s = self._chance.choice((0.01, 0.3))
        self._for("share slow", 100.0, 2000.0, lambda: setattr(self._its.disk, "latency_s", 1e-4))

    def _helpers_suffer(self) -> None:
        hardship = self._its.processes.hardship
        hardship.p_dies, hardship.p_late = self._chance.choice((0.0, 0.05, 0.2)), self._chance.choice((0.0, 0.05))
        hardship.p_no_start = self._chance.choice((0.0, 0.3))
        self._for("helpers suffer", 60.0, 2000.0, self.helpers_well)

    def helpers_well(self) -> None:
        hardship = self._its.processes.hardship
        hardship.p_late = hardship.p_no_start = 0.0
        hardship.p_dies = 0.0 if self.is_over else self._plan.p_dies

    def _attempts_suffer(self) -> None:
        toil = self._its.facilities.toil
        toil.p_wrong, toil.p_no_start = self._chance.choice((0.1, 0.6)), self._chance.choice((0.0, 0.2))
        self._for("attempts suffer", 60.0, 4000.0, self.attempts_well)

    def attempts_well(self) -> None:
        toil = self._its.facilities.toil
        toil.p_wrong, toil.p_no_start = 0.0 if self.is_over else self._plan.p_wrong, 0.0

    def _disk_refuses(self) -> None:
        self._its.refuses = self._chance.choice((errno.ENOSPC, errno.ENOSPC, errno.EIO))
        self._its.facilities.is_full = self._its.refuses == errno.ENOSPC
        self._for("disk refuses", 1.0, 1000.0, self.disk_well)

    def disk_well(self) -> None:
        self._its.refuses, self._its.facilities.is_full = 0, False

    def _killed(self) -> None:
        self._world.kill = self._its.run is not None

    def _stopped(self) -> None:
        if self._its.daemon is not None:
            self._its.daemon.stop()

    def _clock_jumps(self) -> None:
        self._world.wall_offset_s += self._chance.choice((-1.5e7, -HOUR_S, -1.0, 1.0, HOUR_S, 1.5e7))

    def _suspended(self) -> None:
        """All stand still, and the clocks go on."""
        self._world.now_s += self._chance.choice((100.0, HOUR_S))

    def _slow_machine(self) -> None:
        self._world.tick_s = self._chance.choice((1e-4, 1e-2))
        self._for("slow machine", 10.0, 200.0, lambda: setattr(self._world, "tick_s", 1e-6))

    def _second_daemon(self) -> None:
        self._its.second_daemon()

    def _paused(self) -> None:
        self._its.ask("pause")
        self._for("paused", 10.0, 2000.0, lambda: self._its.ask("resume"))

    def _cancelled(self) -> None:
        self._its.ask("cancel")

    def _retried(self) -> None:
        self._its.ask("retry")

    def _reloaded(self) -> None:
        """Another configuration, good or not, by request or by signal."""
        if self._chance.random() < 0.3:
            self._its.spoil_configuration()
            self._world.after(100.0, "configuration mended", self._its.write_configuration)
        else:
            habits = self._plan.habits
            self._its.write_configuration(settle_s=habits.settle_s * self._chance.choice((1.0, 1.5)))
            if self._chance.random() < 0.5:
                self._plan.low_A = self._chance.choice((30.0, 31.0))
                self._its.write_configuration()
        if self._chance.random() < 0.5 and self._its.daemon is not None:
            self._its.daemon.reload()
        else:
            self._its.ask("reload")

    def end(self) -> None:
        """Let all be well from now on."""
        self.is_over = True
        self._world.tick_s = 1e-6
        self.share_back()
        self.helpers_well()
        self.attempts_well()
        self.disk_well()
        disk = self._its.disk
        disk.p_refuses, disk.stale_s, disk.latency_s = 0.0, 0.0, 1e-4
        for folder in disk.folders.values():
            folder.refuses = 0
        self._its.write_configuration()


FAULTS = (
    "share_away", "share_refuses", "folder_locked", "share_lags", "share_slow", "helpers_suffer", "attempts_suffer",
    "disk_refuses", "killed", "stopped", "clock_jumps", "suspended", "slow_machine", "second_daemon", "paused",
    "cancelled", "retried", "reloaded",
)  # fmt: skip
