"""A run: one configuration, one folder, one process in charge. Opens and closes everything; schedules nothing."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from cryoframe.errors import ConfigError, CryoframeError, FileError, StoreError
from cryoframe.execution import attempts, executors, places
from cryoframe.execution.admit import Admission, Arrival
from cryoframe.execution.control import Desk, Request, leftovers
from cryoframe.execution.executor import Executor
from cryoframe.execution.ledger import Ledger
from cryoframe.execution.reload import flags, reload
from cryoframe.execution.runner import Runner
from cryoframe.kernel import config as configuration
from cryoframe.kernel import discovery
from cryoframe.kernel.config import RunConfig
from cryoframe.kernel.plan import Plan, make_plan
from cryoframe.kernel.plugins import Plugins
from cryoframe.kernel.stage import stage_specs
from cryoframe.records import events, folders, session_events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import FAILED, Scalar
from cryoframe.records.journal import Journal
from cryoframe.records.state import Item, State
from cryoframe.records.store import Store

LOCK, DATABASE = "lock", "state.sqlite"
Exists = Callable[[Path], bool]
LOOKED_AT_S = 0.5
_KIND_OF = {"movies": "Movie", "micrographs": "Micrograph"}


class Run:
    """A run in the charge of this process. Use :meth:`open`, and close it (or use it in a ``with``)."""

    def __init__(self, config: RunConfig, plugins: Plugins) -> None:
        self.config, self.plugins = config, plugins
        #: What a command line said besides the file; a reload leaves it in force.
        self.flags = flags(config)
        #: First wait before an attempt is repeated; doubled each time, at most 15 min.
        self.backoff_s = 1.0
        self.folder = config.folder
        places.check(config)
        folders.made(self.folder, "[run] folder")
        self._lock = _take_lock(self.folder / LOCK)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        executors.share_products(self.config)
        self._database = Database.open(self.folder / DATABASE)
        self.journal = Journal(self._database)
        self.bus = Bus(self.journal, self.config.name)
        self.state, self.store = State(self._database), Store(self.folder, self.bus)
        self.bus.publish(events.RunOpened, folder=str(self.folder), config_digest=self.config.digest)
        self.store.sweep(spare=executors.left_elsewhere(self.config))
        self._executors: list[Executor] = []
        self._runner: Runner | None = None
        self._admission: Admission | None = None
        for path in leftovers(self.folder):
            path.unlink(missing_ok=True)
        holder = os.pread(self._lock, 200, 0).decode(errors="replace")
        obey = {"pause": self._pause, "resume": self._resume, "cancel": self._cancel, "retry": self._retry}
        obey["reload"] = self._reload
        #: Called when a new configuration is in force.
        self.renewed: list[Callable[[], None]] = []
        self._desk = Desk(self.folder, holder, obey)

    @classmethod
    def open(cls, source: Path | str | RunConfig) -> Self:
        """Read and check a configuration, take charge of its folder, open journal and store; imports no plugin.

        Raises
        ------
        ConfigError
            If the configuration is wrong.
        StoreError
            If another process is in charge (naming it), or the folder is damaged.
        """
        config = source if isinstance(source, RunConfig) else configuration.load(source)
        offers = (*discovery.scan(), *discovery.local_offers(config.plugin_files))
        return cls(config, Plugins(offers, config.blocked))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        is_failure = kind is not None and issubclass(kind, Exception)
        self.close(attempts.bounded(f"{FAILED}{type(error).__name__}: {error}") if is_failure else "closed")

    def plan(self) -> Plan:
        """Return what would be run, and why something could not be."""
        return make_plan(self.config, self.plugins)

    # -- work ----------------------------------------------------------------------------------------------------
    def runner(self, *, live: bool = False) -> Runner:
        """Return the runner, made on first use: the plan is required to be whole, every plugin is described.

        Parameters
        ----------
        live
            Items keep arriving: stages over the set wait for `every` new ones, a plugin that cannot be used is left
            out instead of being an error. Set ``runner.live = False`` for the end of the session.
        """
        if self._runner is None:
            plan = self.plan()
            self._refuse_makers()
            plan.require()
            if remark := self.config.optics_remark():
                self.bus.publish(events.OpticsAssumed, names=", ".join(self.config.assumed_optics), remark=remark)
            ledger = Ledger(plan, self.config, self.state, self.store)
            executor = executors.chosen(self.config, self.plugins, self._hear)
            self._executors.append(executor)
            self._runner = Runner(ledger, self.plugins, self.bus, executor, backoff_s=self.backoff_s)
            self._runner.live, self._runner.held = live, self.state.held()
            self._runner.between = self._desk.look
            self._listeners()
            self._runner.prepare(strict=not live)
        self._runner.live = live
        return self._runner

    def execute(self) -> dict[str, dict[str, int]]:
        """Admit the configured inputs and run everything that can be run; returns the number of tasks by status."""
        runner = self.runner()
        self.admit_inputs()
        runner.run_until_idle()
        return self.state.task_counts()

    def admit_inputs(self, *, landing: Sequence[Path] = ()) -> list[Item]:
        """Admit every configured input file; one that cannot be used is reported by its event, the others go on.

        Parameters
        ----------
        landing
            Folders in which files may still be being written; images below them are left to who watches.
        """
        items: list[Item] = []
        for section in self.config.inputs:
            if section.kind not in _KIND_OF:
                items.append(self._admitted(self._door().imported(section, self.config.seed)))
                continue
            found = section.paths()
            if not found and not self.config.watch.folders:
                raise ConfigError(section.nothing(), remedy=section.instead())
            for root, path in found:
                if any(path.is_relative_to(folder) for folder in landing) or places.is_written_by(self.config, path):
                    continue
                try:
                    items.append(self.admit_file(path, _KIND_OF[section.kind], {}, root=root))
                except FileError:
                    continue  # its event says why
        return items

    def admit_file(
        self, path: Path | str, kind: str, facts: Mapping[str, Scalar] | None = None, *, root: Path | str | None = None
    ) -> Item:
        """Admit one whole file: digest its content, read its header in a process apart, queue what is due for it.

        Parameters
        ----------
        path
            The file; it is only ever read.
        kind
            ``Movie`` or ``Micrograph`` (``movies`` and ``micrographs`` are understood).
        facts
            What a side-car says: ``pixel_size_A``, ``dose_e_A2``, ``voltage_kV`` …; the configuration goes before it.
        root
            The item is called by its path below this folder; its own folder when None.

        Raises
        ------
        FileError
            If the file cannot be used (after a FileRejected event).
        EnvironmentFault
            If it cannot be read now.
        """
        path = Path(path).absolute()
        item = self._door().file(path, _KIND_OF.get(kind, kind), facts or {}, Path(root or path.parent).absolute())
        return self._admitted(item)

    def admit_read(self, arrivals: Sequence[Arrival], *, exists: Exists) -> list[Item]:
        """Admit whole files that a process apart has read; see :meth:`Admission.read`."""
        return self._door().read(arrivals, exists=exists, admitted=self._admitted)

    def retry(self, stage_id: str | None = None, item_id: str | None = None) -> int:
        """Queue what was given up once more (all, of a stage, of an item); returns how many tasks that are."""
        tasks = [task for task in self.state.tasks(stage_id, "given_up") if item_id in (None, task.item_id)]
        if self._runner is not None:
            self._runner.retry(tasks)
        else:
            asked = [self.bus.make(events.StageRetried, stage_id=t.stage_id, item_id=t.item_id) for t in tasks]
            self.bus.publish_many(asked)
        return len(tasks)

    def status(self) -> dict[str, object]:
        """Return counts of files and tasks, what is in progress, what was given up and why."""
        given_up = self.state.tasks(status="given_up")
        return {
            "name": self.config.name,
            "folder": str(self.folder),
            "files": self.state.file_counts(),
            "tasks": self.state.task_counts(),
            "running": self._runner.running() if self._runner else [],
            "paused": (self._runner.paused if self._runner else "") or self.state.held(),
            "alarms": [vars(alarm) for alarm in self.state.alarms()],
            "given_up": [(task.stage_id, task.item_id, task.message) for task in given_up],
            "tracebacks": attempts.kept_tracebacks(self.folder, given_up),
            "rejected": [{"path": row.path, "reason": row.reason} for row in self.state.files("rejected")],
            "remarks": [remark] if (remark := self.config.optics_remark()) else [],
        }

    def close(self, reason: str = "closed") -> None:
        """End every attempt, say so, and give the folder free."""
        for executor in self._executors:
            executor.close()
        self._executors = []
        self.bus.publish(events.RunFinished, reason=reason)
        self._database.close()
        os.close(self._lock)

    def _refuse_makers(self) -> None:
        stages = stage_specs()
        for stage in self.config.stages:
            if stage.run in stages and stages[stage.run].over == "exposure":
                raise ConfigError(
                    f"stage '{stage.id}' makes movies, and a run starts from files",
                    remedy="Write them first with `cryoframe simulate`; name them in [movies], or watch their folder.",
                )

    @property
    def cancelled(self) -> bool:
        """Whether somebody had it end before its work was done."""
        return self._runner is not None and self._runner.stopping

    # -- what people ask of it while it works -----------------------------------------------------------------------
    def _pause(self, request: Request) -> str:
        runner = self.runner_in_charge()
        if not runner.held:
            self.bus.publish(session_events.RunHeld, who=request.who)
            runner.held = self.state.held()
        return f"{runner.held}; {len(runner.running())} attempts in progress go on to their end"

    def _resume(self, request: Request) -> str:
        runner = self.runner_in_charge()
        was_held = runner.held and not request.stage_id
        if was_held:
            self.bus.publish(session_events.RunReleased, who=request.who)
            runner.held = ""
        let_go = runner.release(request.stage_id, f"{request.who} asked for it")
        return ", ".join((["the run goes on"] if was_held else []) + let_go) or "nothing was paused"

    def _cancel(self, request: Request) -> str:
        runner = self.runner_in_charge()
        self.bus.publish(session_events.RunCancelled, who=request.who)
        n_running = len(runner.running())
        runner.stopping = True
        runner.cancel()
        return f"{n_running} attempts are stopped, and the process ends; what was done is kept"

    def _reload(self, request: Request) -> str:
        return self.reload()

    def reload(self) -> str:
        """Read the configuration anew and put it in force; returns what differs, in words.

        Raises
        ------
        ConfigError, PluginError
            If it cannot be used (after a ConfigRefused event); what was in force stays so.
        """
        try:
            if self.config.path is None:
                raise ConfigError("the configuration did not come from a file", remedy="Stop the run, and start it.")
            changes = reload(self, configuration.load(self.config.path))
            self._admission = None
            for renew in self.renewed:
                renew()
        except CryoframeError as error:
            self.bus.publish(session_events.ConfigRefused, reason=str(error))
            raise
        return f"in force: {', '.join(changes)}" if changes else "nothing differs"

    def another_executor(self) -> Executor:
        """Return an executor like that of the run, for who closes it."""
        return self.runner_in_charge().executor.another()

    def _retry(self, request: Request) -> str:
        return f"{self.retry(request.stage_id or None, request.item_id or None)} queued again"

    def runner_in_charge(self) -> Runner:
        """Return the runner that is at work.

        Raises
        ------
        ConfigError
            If there is none yet.
        """
        if self._runner is None:
            raise ConfigError("the run has not begun its work", remedy="Ask again in a moment.")
        return self._runner

    # -- inside --------------------------------------------------------------------------------------------------
    def _admitted(self, item: Item) -> Item:
        if self._runner is not None:
            self._runner.admit(item)
        return item

    def _door(self) -> Admission:
        if self._admission is None:
            reader = executors.here(self.config)
            self._executors.append(reader)
            made = Admission(self.state, self.store, self.bus, reader=reader, plugins=self.plugins, config=self.config)
            self._admission = made
        return self._admission

    def _hear(self, ticket: str, message: Mapping[str, object]) -> None:
        if self._runner is not None:
            self._runner.hear(ticket, message)

    def _listeners(self) -> None:
        """Let plugins that listen add themselves; one that cannot is refused, with an event, and the run goes on."""
        for offer in self.plugins.offered("subscribe"):
            try:
                self.plugins.call(self.plugins.load(offer), "subscribe", {"bus": self.bus})
            except CryoframeError as error:
                self.bus.publish(events.PluginRefused, hook="subscribe", name=offer.name, reason=str(error))


def _lock(descriptor: int) -> None:
    """Take a lock; somebody who looks who has it (``cryoframe status``) holds it for a moment."""
    end_s = time.monotonic() + LOOKED_AT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end_s:
                raise
            time.sleep(0.02)


def _take_lock(path: Path) -> int:
    """Take charge of the folder, or say who is; the lock goes with the process, however it ends."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            f"run folder {path.parent} cannot be written to ({error.strerror})", remedy="Give [run] another folder."
        ) from error
    try:
        _lock(descriptor)
    except OSError as error:
        who = os.read(descriptor, 200).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreError(
            f"run folder {path.parent} is in the charge of {who or 'another process'}",
            remedy="Stop that process first, or give this run another folder.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T %z')}".encode())
    return descriptor
