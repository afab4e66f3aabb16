"""Keeps an eye on a session and calls somebody: gathers what `alarms` judges, journals it, hands it to `notifier`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from cryoframe.data.alarm import Alarm
from cryoframe.errors import EnvironmentFault
from cryoframe.execution.run import Run
from cryoframe.execution.runner import Runner
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import events
from cryoframe.records.events import Event
from cryoframe.records.session_events import AlarmCleared, AlarmRaised, AlarmUnsent
from cryoframe.watch.alarms import Board, Situation
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.notifier import Notifier
from cryoframe.watch.roots import Root

#: Whatever of these is published shows that work goes on.
_PROGRESS = (
    events.StageProgress, events.StageFinished, events.StageSkipped, events.StageGivenUp, events.StageStarted,
    events.FileSettled, events.FileRejected, events.FileDuplicate,
)  # fmt: skip


class Attention:
    """Looks at a session when it is asked to.

    Parameters
    ----------
    run
        The run; alarms that an earlier process left standing are taken from its state.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._n_progress = 0
        standing = ((alarm.kind, alarm.subject) for alarm in run.state.alarms())
        self._board = Board(run.config.watch, standing, time.monotonic())
        self._notifier = self._made()
        self._end = run.bus.subscribe(_PROGRESS, self._progress)

    def look(self, roots: Sequence[Root], runner: Runner, guard: DiskGuard) -> None:
        """Judge the situation; journal and send on what changed."""
        changes = self._board.update(self._situation(roots, runner, guard), time.monotonic())
        while changes:
            begins, (kind, subject), message = changes[0]
            try:
                self._tell(kind, subject, message, begins=begins)
            except EnvironmentFault:
                self._board.take_back(changes)  # a full disk: it is found again at the next look
                raise
            del changes[0]
        for unsent in self._notifier.unsent():
            where = {"kind": unsent.alarm.kind, "subject": unsent.alarm.subject}
            self._run.bus.publish(AlarmUnsent, notifier=unsent.notifier, **where, error=unsent.error)

    def renew(self) -> None:
        """Go on with the configuration that is in force now.

        Raises
        ------
        ConfigError
            If a notifier's settings are wrong; then the ones there were go on.
        """
        made, old = self._made(), self._notifier
        self._notifier, self._board.config = made, self._run.config.watch
        old.close(0.0)

    def close(self) -> None:
        """Let the notifiers send what waits."""
        self._end()
        self._notifier.close()

    def _made(self) -> Notifier:
        config = self._run.config
        plugins = Plugins(self._run.plugins.offers)
        return Notifier(plugins, config.alarms, config.path.parent if config.path else None)

    def _progress(self, _: Event) -> None:
        self._n_progress += 1

    def _situation(self, roots: Sequence[Root], runner: Runner, guard: DiskGuard) -> Situation:
        tasks = self._run.state.task_counts().values()
        n_tasks = {name: sum(counts.get(name, 0) for counts in tasks) for name in ("queued", "failed", "given_up")}
        return Situation(
            n_progress=self._n_progress,
            n_files=sum(len(root.entries) for root in roots),
            n_waiting=n_tasks["queued"] + n_tasks["failed"],
            n_set_aside=n_tasks["given_up"] + self._run.state.file_counts().get("rejected", 0),
            at_work=bool(runner.running() or n_tasks["queued"] + n_tasks["failed"]),
            resting=bool(runner.held or runner.paused or guard.reason),
            offline={os.fspath(root.folder): root.unlisted for root in roots if root.unlisted},
            disk=guard.reason or runner.paused,
            failing={**runner.breaker.failing(), **_left_out(runner)},
        )

    def _tell(self, kind: str, subject: str, message: str, *, begins: bool) -> None:
        said = {"kind": kind, "subject": subject}
        bus = self._run.bus
        event: Event = (
            bus.publish(AlarmRaised, **said, message=message) if begins else bus.publish(AlarmCleared, **said)
        )
        self._notifier.post(
            Alarm(
                **said,
                message=message,
                raised=begins,
                run_id=event.run_id,
                folder=os.fspath(self._run.folder),
                time_utc=event.time_utc,
            )
        )


def _left_out(runner: Runner) -> dict[str, str]:
    """Return the stages of which nothing is done because their plugins cannot be used, and why."""
    remedy = "mend it and `cryoframe reload`"
    return {f"stage '{name}'": f"it is left out: {why}; {remedy}" for name, why in runner.ledger.left_out.items()}
