"""Takes what is due, runs it, commits what came of it, retries or gives up. It asks the ledger, no listener."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryoframe.errors import CryoframeError, EnvironmentFault
from cryoframe.execution import attempts, checkpoints, descriptions
from cryoframe.execution.attempts import Running
from cryoframe.execution.breaker import Breaker, implementation
from cryoframe.execution.executor import JOB, RESULT, Executor, Job, Outcome
from cryoframe.execution.known import DONE, GIVEN_UP, SET, TOLD, WAITING, Known
from cryoframe.execution.ledger import Due, Ledger, dependents
from cryoframe.execution.outbox import Outbox
from cryoframe.execution.room import shortage
from cryoframe.execution.sweep import Sweep
from cryoframe.execution.waiting import Place, Waiting
from cryoframe.kernel.plan import Node
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import events, session_events, summaries
from cryoframe.records.bus import Bus
from cryoframe.records.crash import crash_point
from cryoframe.records.events import Value
from cryoframe.records.state import Item, Task
from cryoframe.records.store import PRODUCT, Committed

#: A step waits for so long; so many tasks are looked at in it.
POLL_S, CLAIMS = 0.5, 500
#: With less than this free, nothing is started; ``room`` says when it goes on.
LOW_WATER_MB = 256


class Runner:
    """Drives tasks to their end.

    Parameters
    ----------
    ledger
        Says what is due.
    plugins
        Where readers and wrappers come from; nothing of it is imported here.
    bus
        Told of everything.
    executor
        Runs the attempts.
    backoff_s
        First wait before an attempt is repeated; doubled each time, at most 15 min.
    """

    def __init__(
        self, ledger: Ledger, plugins: Plugins, bus: Bus, executor: Executor, *, backoff_s: float = 1.0
    ) -> None:
        self.ledger, self._bus, self.executor, self._backoff_s = ledger, bus, executor, backoff_s
        self.config, self.store = ledger.config, ledger.store
        #: Items may still arrive: stages over the set wait for `every` new ones, trouble is waited out without limit.
        self.live = False
        #: Why nothing is started: the disk is short; somebody asked.
        self.paused, self.held = "", ""
        #: Folders that cannot be reached now: what reads files below them is not begun.
        self.away: Collection[Path] = ()
        #: Called before each step; told to, the runner ends where it is.
        self.between: Callable[[], None] = lambda: None
        self.stopping, self.breaker = False, Breaker()
        #: Free space below which nothing is started.
        self.low_water_MB: float = LOW_WATER_MB
        self._plugins, self._waiting = plugins, Waiting.of(ledger)
        self._running, self._claimed = dict[str, Running](), list[Running]()
        self._troubles: dict[tuple[str, str], int] = {}
        self._outbox = Outbox(bus)
        self._say, self._flush = self._outbox.say, self._outbox.flush
        self._blocked, self._sweep = False, Sweep(ledger, self._consider)

    # -- the outside --------------------------------------------------------------------------------------------
    def prepare(self, *, strict: bool = True) -> None:
        """Have every plugin described, then look at all there is to do.

        Raises
        ------
        PluginError
            If `strict` and a plugin cannot be used; else its stage is left out, with an event that says why.
        """
        for node, outcome in descriptions.described(
            self.ledger.plan.nodes, self.executor, config=self.config, plugins=self._plugins, store=self.store
        ):
            self._described(node, outcome, strict=strict)
        self.look()

    def look(self) -> None:
        """Look at every task there could be; what takes longer is gone on with between steps."""
        self._sweep.begin(self.ledger)
        self._flush()
        crash_point("runner.queued")

    def admit(self, item: Item) -> None:
        """Take in an item that arrived or changed; what is due for it is said with the next step."""
        self.ledger.add(item)
        self._waiting.take_up(item.item_id)  # it may lie elsewhere now
        self._consider_unit(item.item_id)

    def step(self, timeout_s: float = POLL_S) -> bool:
        """Collect what has ended, start what can be started; False when there is nothing left to do or wait for."""
        self.catch_up()
        self.between()
        self._sweep.go_on()
        if self._running:
            for outcome in self.executor.poll(0.0 if self._sweep.is_on else timeout_s):
                self._settle(outcome)
        elif self._waiting and not self._sweep.is_on:
            time.sleep(timeout_s if self.resting else min(timeout_s, self._waiting.until_s()))
        self._claim()
        self._flush()
        crash_point("runner.finished")
        self.catch_up()
        return bool(self._running or self._waiting or self._sweep.is_on)

    def catch_up(self) -> None:
        """Say what a full disk refused, start what was claimed; before this nobody may go by what the journal knows."""
        self._flush()
        while self._claimed:
            self._start(self._claimed.pop(0))
            crash_point("runner.started")
        self._flush()

    def run_until_idle(self) -> None:
        """Step until there is nothing left to do; trouble with the disk of the run itself is waited out for a while.

        Raises
        ------
        EnvironmentFault
            If it does not pass. What was acknowledged is safe; the run can be opened again.
        """
        self.look()
        n_troubles, busy = 0, True
        while busy and not self.stopping:
            try:
                busy, n_troubles = self.step(), 0
            except EnvironmentFault:
                n_troubles += 1
                if n_troubles >= attempts.BATCH_ENVIRONMENT_ATTEMPTS:
                    raise
                time.sleep(attempts.delay_s(self._backoff_s, "", n_troubles))

    def retry(self, tasks: list[Task]) -> None:
        """Queue tasks that were given up once more, with their attempts counted from zero."""
        for task in tasks:
            self._say(events.StageRetried, stage_id=task.stage_id, item_id=task.item_id)
            self.ledger.known.forget(task.stage_id, task.item_id)
        self.look()

    def adopt(self, ledger: Ledger, plugins: Plugins, changed: Collection[str]) -> None:
        """Go on by another ledger of the same run; attempts of `changed` stages are stopped, the others go on."""
        ledger.go_on_from(self.ledger)
        self.ledger, self.config, self._plugins, self._waiting = ledger, ledger.config, plugins, Waiting.of(ledger)
        for ticket, running in self._running.items():
            due = running.due
            if due.node.id in changed:
                self.executor.cancel(ticket)
            else:
                ledger.known[due.node.id, due.item_id] = Known(due.key, "running", attempts=running.attempt - 1)
        for stage_id in changed:
            self.release(stage_id, "it was swapped")
        self.look()

    def cancel(self) -> None:
        """Ask every attempt to stop, and forget the queue; what was due is found again by the next `look`."""
        for place in self._waiting.clear():
            self.ledger.known.forget(place.node.id, place.item_id)
        for ticket in self._running:
            self.executor.cancel(ticket)

    def release(self, stage_id: str, reason: str) -> list[str]:
        """Let held implementations go on, of one stage or of all; returns which, in words."""
        let_go = []
        for node in self.ledger.plan.nodes:
            plugin = implementation(node)
            if stage_id in ("", node.id) and self.breaker.release(plugin):
                self._say(session_events.StageReleased, stage_id=node.id, plugin=plugin, reason=reason)
                let_go.append(f"stage '{node.id}' goes on")
        self._flush()
        return let_go

    @property
    def resting(self) -> bool:
        """Whether work that waits may not begin now."""
        nothing_begins = self.paused or self.held or (self._blocked and not self._running)
        return bool(nothing_begins) and not self._sweep.is_on

    @property
    def waits_in_vain(self) -> bool:
        """Whether all that waits has failed as often as a batch run bears it, such as files that were taken away."""
        is_still, most = not (self._running or self._sweep.is_on), attempts.BATCH_ENVIRONMENT_ATTEMPTS
        return is_still and all(self._troubles.get(name, 0) >= most for name in self._waiting.names())

    def running(self) -> list[tuple[str, str]]:
        """Return (stage, item) of every attempt in progress."""
        return [(running.due.node.id, running.due.item_id) for running in self._running.values()]

    def hear(self, ticket: str, message: Mapping[str, Any]) -> None:
        """Pass an attempt's progress and metrics on to the bus."""
        if (running := self._running.get(ticket)) is not None:
            attempts.pass_on(message, running.due, publish=self._bus.publish, say=self._say)

    # -- what is due ---------------------------------------------------------------------------------------------
    def _consider_unit(self, unit: str) -> None:
        for node in dependents(self.ledger.plan, unit):
            if not self._sweep.postpones(node):
                self._consider(node, SET if node.domain == "set" else unit)

    def _consider(self, node: Node, unit: str) -> None:
        """Queue a task if it is due and its product is not in the store; note it as done if it is."""
        if node.id not in self.ledger.described:
            return
        due = self.ledger.due(node, unit, live=self.live)
        if due is None:
            return
        known = self.ledger.known.get((node.id, unit))
        same = known is not None and known.key == due.key
        if known is not None and same and known.status not in (WAITING, TOLD):
            return
        if self.store.has(node.id, due.key):
            self._skip(due, said=known is not None and same and known.digest != "")
            return
        counted = known.attempts if known is not None and same else 0
        self.ledger.known[node.id, unit] = Known(due.key, "queued", attempts=counted)
        self.ledger.note_started(due)
        if known is None or not same or known.status != TOLD:
            self._say(events.StageQueued, stage_id=node.id, item_id=unit, key=due.key)
        self._waiting.push(due)

    def _skip(self, due: Due, *, said: bool) -> None:
        """Take a product from the store; `said` before if it had only seemed out of date for a while."""
        job = self.store.job(due.node.id, due.key)
        if not said:
            self._saved(Committed(due.key, job["kind"], job["digest"], self.store.path(due.node.id, due.key)), job)
            where = {"stage_id": due.node.id, "item_id": due.item_id, "key": due.key}
            self._say(events.StageSkipped, **where, digest=job["digest"], reason="the store has it")
        self.ledger.known[due.node.id, due.item_id] = Known(due.key, DONE, job["digest"])
        self.ledger.note_started(due)
        self._consider_unit(due.item_id)

    def _claim(self) -> None:
        """Take tasks from the queue as far as there are workers, devices and room on the disk."""
        self._blocked = False
        self._waiting.missing(self.away)
        n_most = 0 if self.held or self.stopping else self.config.workers
        for _ in range(CLAIMS):
            if len(self._running) + len(self._claimed) >= n_most or not self._waiting or not self._has_room():
                return
            place = self._waiting.pop(self._may_start)
            if place is None:
                self._blocked = self._waiting.until_s() == 0
                return
            known = self.ledger.known.get((place.node.id, place.item_id))
            if known is not None and (known.key, known.status) == (place.key, "queued"):  # else it was superseded
                self._claim_one(place, known)

    def _claim_one(self, place: Place, known: Known) -> None:
        """Claim a task as it is now: the same content may lie elsewhere by then; a set that has grown waits no more."""
        fresh = self.ledger.due(place.node, place.item_id, live=self.live)
        due = fresh if fresh is not None and fresh.key == place.key else place.due
        if due is None:  # what it needs is not what it was
            self.ledger.known[place.node.id, place.item_id] = replace(known, status=WAITING)
            self._consider(place.node, place.item_id)
            return
        if attempts.is_away(due, self.away):
            self._waiting.set_aside(place)
            return
        attempt = known.attempts + 1
        try:
            scratch = self.store.scratch(due.node.id, due.key, attempt)
        except EnvironmentFault:
            self._waiting.push(due)
            raise
        self._claimed.append(Running(due, attempt, scratch, self.ledger.described[due.node.id]))
        self.breaker.begun(implementation(due.node))
        self.ledger.known[due.node.id, due.item_id] = replace(known, status="running")
        where = {"stage_id": due.node.id, "item_id": due.item_id, "key": due.key}
        said = {"worker": scratch.name, "device": str(self.ledger.described[due.node.id]["device"])}
        self._say(events.StageStarted, **where, attempt=attempt, **said)

    def _may_start(self, node: Node) -> bool:
        """Whether its implementation may, and what it needs is free: a CUDA device is lent to one attempt at a time."""
        busy = (*self._running.values(), *self._claimed)
        names = {(one.due.node.id, one.due.item_id) for one in busy}  # a smaller set's must not end after a larger's
        if (node.id, SET) in names or (self.live and not self.breaker.allows(implementation(node))):
            return False
        device = self.ledger.described[node.id]["device"]
        return device == "cpu" or device not in {one.said["device"] for one in busy}

    def _start(self, running: Running) -> None:
        try:
            self._running[self.executor.submit(self._job(running.due, running.scratch))] = running
        except (EnvironmentFault, OSError) as error:  # the order cannot be written to a full disk
            self._fail(running, Outcome("", {}, "environment", str(error)))

    def _has_room(self) -> bool:
        short = shortage(self.store.folder / "scratch", self.low_water_MB, was_short=bool(self.paused))
        if bool(short) != bool(self.paused):
            self.paused = short
            told, why = (events.RunPaused, {"reason": short}) if short else (events.RunResumed, {})
            self._say(told, **why)
        return not self.paused

    def _job(self, due: Due, scratch: Path) -> Job:
        said, digest = self.ledger.described[due.node.id], self.ledger.content_digest(due.node, due.item_id)
        return attempts.job(self.config, self._plugins, due, scratch, said=said, item_digest=digest)

    def _described(self, node: Node, outcome: Outcome, *, strict: bool) -> None:
        if outcome.error_class and strict:  # the error says it; an event would say it once more
            raise attempts.refusal(node, outcome)
        for event_class, payload in descriptions.told(self.config, node, outcome):
            self._say(event_class, **payload)
        self._flush()
        self.ledger.answered(node, outcome.result, outcome.message if outcome.error_class else "")

    # -- outcomes -------------------------------------------------------------------------------------------------
    def _settle(self, outcome: Outcome) -> None:
        running = self._running.pop(outcome.ticket, None)
        if running is None:
            return
        crash_point("runner.outcome")
        try:
            if not outcome.error_class:
                self._finish(running, outcome)
                return
        except (CryoframeError, OSError, ValueError) as error:
            blame = getattr(error, "kind", "environment" if isinstance(error, OSError) else "bug")
            outcome = replace(outcome, error_class=blame, message=str(error))
        self._fail(running, outcome)

    def _finish(self, running: Running, outcome: Outcome) -> None:
        due = running.due
        attempts.require_whole(running.scratch / PRODUCT, outcome.result["files"])
        for name in (RESULT, JOB):  # what they say is in the provenance; each file more has to reach the disk
            (running.scratch / name).unlink(missing_ok=True)
        crash_point("runner.before_commit")
        if self.store.path(due.node.id, due.key).exists():  # the store may have to say that it is damaged
            self._flush()
        record = attempts.record(self.config, due, running.said, outcome, attempt=running.attempt)
        committed = self.store.commit(running.scratch, due.node.id, due.item_id, due.key, job=record)
        crash_point("runner.committed")
        known = self.ledger.known.get((due.node.id, due.item_id))
        is_late = known is not None and known.key != due.key and known.status == DONE  # what came after it is there
        self._saved(committed, {} if is_late else self.store.job(due.node.id, due.key))
        where: dict[str, Value] = {"stage_id": due.node.id, "item_id": due.item_id}
        if due.left_out:
            self._say(events.MetricReported, **where, name="items_left_out", value=float(len(due.left_out)), unit="")
        spent = {"seconds": outcome.seconds, "cpu_s": outcome.cpu_s, "peak_MB": outcome.peak_MB}
        self._say(events.StageFinished, **where, key=due.key, digest=committed.digest, **spent)
        self._judge(running, went_well=True)
        if known is not None and known.key == due.key:
            self.ledger.known[due.node.id, due.item_id] = Known(due.key, DONE, committed.digest)
        self._troubles.pop((due.node.id, due.item_id), None)
        checkpoints.forget(self.store.folder, due, live=self.live)
        self._consider_unit(due.item_id)

    def _saved(self, committed: Committed, job: Mapping[str, Any]) -> None:
        path = str(committed.path.relative_to(self.store.folder))
        self._say(events.ProductSaved, key=committed.key, kind=committed.kind, digest=committed.digest, path=path)
        if job and (said := summaries.payload(job, path)) is not None:
            self._say(events.ProductDescribed, **said)

    def _fail(self, running: Running, outcome: Outcome) -> None:
        """Say that an attempt failed, and decide whether there is another: by who is to blame."""
        due, name = running.due, (running.due.node.id, running.due.item_id)
        where = {"stage_id": due.node.id, "item_id": due.item_id, "key": due.key}
        kind = "bug" if outcome.error_class == "user" else outcome.error_class
        kept = attempts.keep_traceback(
            self.store.folder, due, running.scratch, attempt=running.attempt, said=outcome.message
        )
        self.store.discard(running.scratch)
        message = attempts.bounded(outcome.message, kept)
        failure: dict[str, Value] = {"error_class": kind, "message": message, "traceback_file": kept}
        self._say(events.StageFailed, **where, attempt=running.attempt, **failure)
        self._judge(running, went_well=attempts.verdict(kind, outcome), why=message)
        known = self.ledger.known.get(name)
        if known is None or known.key != due.key:
            self._consider_unit(due.item_id)
            return
        self._troubles[name] = self._troubles.get(name, 0) + 1
        counted, troubles = known.attempts + (kind != "environment"), self._troubles[name]
        limit = attempts.limit(kind, due.node.stage, live=self.live)
        if (troubles if kind == "environment" else counted) >= limit or outcome.error_class == "user":
            self._say(events.StageGivenUp, **where, reason=f"{kind}, after {troubles} attempts: {message}")
            self.ledger.known[name] = replace(known, status=GIVEN_UP, attempts=counted)
            self._troubles.pop(name)
            self._consider_unit(due.item_id)
            return
        self.ledger.known[name] = replace(known, status="queued", attempts=counted)
        self._waiting.push(due, delay_s=attempts.delay_s(self._backoff_s, due.key, troubles))

    def _judge(self, running: Running, *, went_well: bool | None, why: str = "") -> None:
        """Count an attempt for or against its implementation."""
        said = self.breaker.told(running.due, running.attempt, went_well=went_well, why=why) if self.live else None
        if said is not None:
            self._say(said[0], **said[1])
