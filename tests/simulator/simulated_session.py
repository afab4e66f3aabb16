"""A whole session of the real program in one thread on a simulated machine: its life, deaths and what befalls it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import apsw
from simulated_disk import Disk
from simulated_executor import Facilities
from simulated_microscope import Microscope
from simulated_nemesis import Nemesis, Plan
from simulated_processes import Processes
from simulated_world import Instead, Killed, Violation, World

from cryoframe.errors import ConfigError, EnvironmentFault, StoreError
from cryoframe.execution import breaker, control, executors, runner
from cryoframe.execution.run import Run
from cryoframe.kernel import discovery
from cryoframe.kernel.config import load
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import crash, events, provenance, store
from cryoframe.testing.soak.facility import Facility
from cryoframe.watch import attention
from cryoframe.watch import daemon as watching
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard

QUICK = Path("/dev/shm")
PLENTY = 1 << 40
LOW_BYTES = 1 << 20


class Wakeup:
    """Hints of the simulated disk: some are lost, some come for nothing."""

    def __init__(self, session: Session, folders: object, mode: str) -> None:
        del folders, mode
        self._session, self._is_up, self.note = session, False, ""

    def tend(self) -> None:
        """There is no thread that could die."""

    def wait(self, timeout_s: float) -> bool:
        world = self._session.world
        world.alive()
        if not self._is_up and world.happens("hint", self._session.plan.p_hint):
            timeout_s *= world.chance("hint").random()
            self._is_up = True
        start_s = world.now_s
        world.wait(start_s + timeout_s, lambda: self._session.is_woken)
        self._is_up, woken = False, self._is_up or self._session.is_woken
        self._session.is_woken = False
        world.alive()
        return woken

    def wake(self) -> None:
        self._session.is_woken = True

    def close(self) -> None:
        """Nothing is open."""


class Notifier:
    """Nobody is told of alarms: notifiers have threads of their own."""

    def __init__(self, *_: object) -> None:
        self.alarms: list[object] = []

    def post(self, alarm: object) -> None:
        self.alarms.append(alarm)

    def unsent(self) -> list[Any]:
        return []

    def close(self, timeout_s: float = 0.0) -> None:
        """Nothing waits."""


class Session:
    """A run folder, the machine around it, and the processes that have it in charge, one after the other.

    Parameters
    ----------
    world
        Its time and chance.
    plan
        What the seed has in store.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self.world, self.plan = world, plan
        self.folder = Path(tempfile.mkdtemp(prefix="simulated", dir=QUICK if QUICK.is_dir() else None))
        world.hidden = str(self.folder)
        self.facility = self._facility().write()
        self.disk = Disk(world, str(self.facility.land))
        self.processes = Processes(world, self.disk)
        self.facilities = Facilities(world, self.disk)
        self.microscope = Microscope(world, self.disk, plan.habits)
        self.nemesis = Nemesis(self)
        self.run: Run | None = None
        self.daemon: Daemon | None = None
        self.is_woken = False
        #: Errors with which the disk of the run refuses: 0 is none.
        self.refuses = 0
        self.marks: dict[str, float] = {}
        self.n_lives = self._n_folders = 0
        self.until_idle_s: float | None = None

    def close(self) -> None:
        """Remove everything."""
        if self.run is not None:
            self.bury()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _facility(self, **changes: object) -> Facility:
        plan = self.plan
        watch = {
            "kind": plan.kind, "patterns": ["*.mrc", "*.tif"], "observer": "polling", "settle_s": plan.habits.settle_s,
            "long_settle_s": plan.habits.long_settle_s, "poll_s": plan.poll_s, "metadata": plan.metadata,
            "metadata_timeout_s": 4 * plan.habits.settle_s, "order": plan.order,
        }  # fmt: skip
        inputs = f"[{plan.kind}]\npixel_size_A = 1.0\n"
        inputs += "n_frames_expected = 5\n" if plan.is_expected else ""
        stages = dict.fromkeys(plan.stages, f"'{plan.low_A}'")  # another text is another source, and so another key
        run = {"workers": plan.workers, "folder": str(self.folder / "run")}
        return Facility(self.folder, stages=stages, run=run, watch=watch | changes, inputs=inputs, stage=plan.stage)

    # -- one life -------------------------------------------------------------------------------------------------
    def live(self) -> bool:
        """Let one process have the run in charge until it ends or is ended; whether it ended by itself and well."""
        self.n_lives += 1
        self.world.say(f"life {self.n_lives}")
        try:
            self._begin()
            assert self.daemon is not None
            self.daemon.loop(self.until_idle_s)
            self._end()
        except Killed:
            self.bury()
            return False
        except (EnvironmentFault, StoreError) as error:
            if not self.refuses and not self.nemesis.was_refused:
                raise Violation(f"the daemon ended: {type(error).__name__}: {error}") from error
            self.world.say(f"ended: {error}")
            self.bury()
            return False
        return True

    def _begin(self) -> None:
        config = load(self.facility.config)
        self.run = None
        self.run = Run(config, Plugins(local_offers(config.plugin_files)))
        guard = DiskGuard(self.run.folder, low_bytes=LOW_BYTES, reserve_bytes=4096)
        self.daemon = Daemon(self.run, guard)
        self.daemon.on_tick = self.nemesis.ticked

    def _end(self) -> None:
        assert self.run is not None
        assert self.daemon is not None
        self.world.say("ends in good order")
        self.daemon.close()
        self.run.close()
        self.run = self.daemon = None
        self.processes.end_all()
        self.facilities.end_all()

    def bury(self) -> None:
        """Let go of what the kernel would have taken back."""
        run, self.run, self.daemon = self.run, None, None
        self.processes.end_all()
        self.facilities.end_all()
        self.world.kill = False
        if run is not None:
            run._database._connection.close(True)
            try:
                os.close(run._lock)
            except OSError:
                self.world.say("its lock was let go before")

    # -- what is simulated --------------------------------------------------------------------------------------------
    @contextmanager
    def patched(self) -> Iterator[None]:
        """Let the program have this machine instead of the real one."""
        world = self.world
        clock = SimpleNamespace(now=world.utc)
        clocks = ("monotonic", "thread_time", "process_time", "perf_counter")
        patches = [
            *(mock.patch.object(time, name, world.monotonic) for name in clocks),
            mock.patch.object(time, "sleep", world.sleep),
            mock.patch.object(time, "time_ns", world.time_ns),
            mock.patch.object(time, "time", world.time),
            mock.patch.object(events, "secrets", SimpleNamespace(token_hex=world.token)),
            mock.patch.object(provenance, "datetime", clock),
            mock.patch.object(watching, "datetime", SimpleNamespace(now=self._marked)),
            mock.patch.object(watching, "Wakeup", partial(Wakeup, self)),
            mock.patch.object(attention, "Notifier", Notifier),
            mock.patch.object(discovery, "scan", tuple),
            mock.patch.object(runner, "Breaker", partial(breaker.Breaker, world.monotonic)),
            mock.patch.object(executors, "chosen", self.facilities.made),
            mock.patch.object(executors, "here", self.facilities.made),
            mock.patch.object(store, "tempfile", Instead(tempfile, mkdtemp=self._folder)),
            mock.patch.object(shutil, "disk_usage", self._usage),
            *self.processes.patches(),
            *self.nemesis.knobs(),
        ]
        for patch in patches:
            patch.start()
        try:
            with crash.beset(self.nemesis.strikes):
                yield
        finally:
            for patch in reversed(patches):
                patch.stop()

    def _marked(self, zone: Any) -> Any:
        """Tell the time, and remember when it was: a watermark bears it."""
        found = self.world.utc(zone)
        self.marks.setdefault(found.isoformat(timespec="seconds"), self.world.now_s - found.microsecond / 1e6)
        return found

    def _folder(self, prefix: str, dir: Path) -> str:
        self.refuse()
        self._n_folders += 1
        made = Path(dir) / f"{prefix}{self._n_folders}"
        made.mkdir()
        return str(made)

    def _usage(self, folder: Path) -> Any:
        del folder
        free = 0 if self.refuses == errno.ENOSPC else PLENTY
        return SimpleNamespace(total=2 * PLENTY, used=2 * PLENTY - free, free=free)

    def refuse(self, blip: int = 0) -> None:
        """Raise what the disk of the run refuses with, if it does, or does this once."""
        if error := self.refuses or blip:
            self.nemesis.was_refused = True
            raise OSError(error, os.strerror(error))

    def refuse_database(self, blip: int = 0) -> None:
        """As SQLite would."""
        if error := self.refuses or blip:
            self.nemesis.was_refused = True
            raise apsw.FullError("no room") if error == errno.ENOSPC else apsw.IOError("disk I/O error")

    # -- what people do -----------------------------------------------------------------------------------------------
    def ask(self, verb: str, **what: str) -> None:
        """Leave a request, as the command line does."""
        holder = ""
        if verb == "cancel" and self.run is not None:
            holder = os.pread(self.run._lock, 200, 0).decode(errors="replace")
        self.world.say(f"asks {verb}")
        control.ask(self.facility.out, control.Request(verb, "operator", holder=holder, **what))

    def second_daemon(self) -> None:
        """Nobody else may take charge."""
        if self.run is None:
            return
        config = load(self.facility.config)
        try:
            other = Run(config, Plugins(local_offers(config.plugin_files)))
        except (StoreError, ConfigError):
            return
        other.close()
        raise Violation("two processes have the run in charge")

    def write_configuration(self, **changes: object) -> None:
        self._facility(**changes).write()

    def spoil_configuration(self) -> None:
        self.facility.config.write_text("[run\n", encoding="utf-8")
