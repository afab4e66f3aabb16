"""The watch loop: rescan, look, admit, let the runner work, until a signal or until nothing is left to do.

The rescan is the truth and hints only bring it forward; the journal holds what is known, so a killed daemon goes on
where it was. Nothing is ever written below a watched root.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryoframe.errors import ConfigError, EnvironmentFault, PluginError
from cryoframe.execution.outbox import Outbox
from cryoframe.execution.run import Run
from cryoframe.execution.runner import Runner
from cryoframe.records.events import Event
from cryoframe.records.session_events import RootRemarked
from cryoframe.watch import accounts, signals
from cryoframe.watch.accounts import Tick
from cryoframe.watch.attention import Attention
from cryoframe.watch.doorstep import Doorstep
from cryoframe.watch.entrance import Entrance
from cryoframe.watch.guard import MB, DiskGuard
from cryoframe.watch.prober import Prober
from cryoframe.watch.recheck import Recheck
from cryoframe.watch.rescans import MIN_GAP_S, Rescans, Round, linger
from cryoframe.watch.roots import Root, Said
from cryoframe.watch.wakeup import Wakeup

#: Files are admitted for so long at a time before the runner has its turn.
ADMIT_S = 0.3
STEP_S = 0.2
#: While a scanner is to answer, others are waited for no longer than this.
GLANCE_S = 0.05
#: Files are looked at in groups, so many times in the time they have to stand still: so much later are they taken.
LOOKS_A_SETTLING = 10.0
#: Requests are looked for at least so often.
MAX_WAIT_S = 1.0
#: Alarms are judged after each rescan, and so often besides; but not before so many times what it took has passed.
ATTEND_S, ATTENTION_APART = 30.0, 50.0
_KINDS = {"movies": "Movie", "micrographs": "Micrograph"}


class RootLost(Event):
    """A watched root cannot be scanned: an outage, not a deletion."""

    root: str
    reason: str


class RootFound(Event):
    """A lost root is there again."""

    root: str


def watch(
    run: Run,
    *,
    until_idle_s: float | None = None,
    on_tick: Callable[[Tick], None] | None = None,
    guard: DiskGuard | None = None,
) -> int:
    """Watch as :func:`watch_until_stopped` does, and return the exit status of a process that does nothing else: 0."""
    watch_until_stopped(run, until_idle_s=until_idle_s, on_tick=on_tick, guard=guard)
    return 0


def watch_until_stopped(
    run: Run,
    *,
    until_idle_s: float | None = None,
    on_tick: Callable[[Tick], None] | None = None,
    guard: DiskGuard | None = None,
) -> bool:
    """Watch the configured folders and process what lands, until SIGTERM or SIGINT.

    Parameters
    ----------
    run
        An open run; it is left open.
    until_idle_s
        End by itself when nothing has changed for so long and all work is done; stages over the whole set then run.
    on_tick
        Called after every rescan.
    guard
        Disk guard to be used instead of the usual one.

    Returns
    -------
    Whether a signal ended it; else it was idle.

    Raises
    ------
    ConfigError
        If no folder is to be watched.
    """
    daemon = Daemon(run, guard or DiskGuard(run.folder))
    daemon.on_tick = on_tick
    with signals.heard(daemon.stop, daemon.reload):
        try:
            daemon.loop(until_idle_s)
        finally:
            daemon.close()
    return daemon.stopping


class Daemon:
    """One session of watching."""

    def __init__(self, run: Run, guard: DiskGuard) -> None:
        config = run.config.watch
        if not config.folders:
            raise ConfigError("no folder is to be watched", remedy="Set folders = [...] in [watch].")
        self._run, self._config, self._guard = run, config, guard
        kind = _KINDS[run.config.watched_kind or "micrographs"]
        self.roots = [
            Root(folder, kind, config, run.state.each_file(os.fspath(folder)))
            for folder in dict.fromkeys(Path(os.path.abspath(folder)) for folder in config.folders)  # noqa: PTH100
        ]
        section = run.config.input("movies")
        self._prober = Prober(run.config.plugin_files, run.config.blocked)
        self._doorstep = Doorstep(config, section.n_frames_expected if section else None, self._prober)
        self._outbox = Outbox(run.bus)
        self._entrances = [Entrance(run, root, self._doorstep, self._outbox) for root in self.roots]
        self._rechecks = [Recheck(run, root, self._outbox) for root in self.roots]
        self._attention, self._watermarks = Attention(run), accounts.Watermarks(run.bus, run.state)
        self._wakeup = Wakeup([root.folder for root in self.roots], config.observer)
        self._lost: set[Path] = set()
        self.rescans = Rescans(self.roots, self._publish, self._note_change)
        self._generation, self._next_look_s = 0, 0.0
        self._last_change_s = time.monotonic()
        self._attend_due_s, self._attend_again_s = time.monotonic() + ATTEND_S, 0.0
        self._stopping, self._reload_asked = False, False
        run.renewed.append(self._renew)
        self.on_tick: Callable[[Tick], None] | None = None

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping

    def stop(self) -> None:
        """End the loop soon, in good order."""
        self._stopping = True
        self._wakeup.wake()

    def reload(self) -> None:
        """Have the configuration read anew, soon."""
        self._reload_asked = True
        self._wakeup.wake()

    def close(self) -> None:
        """End the helpers."""
        with suppress(ValueError):
            self._run.renewed.remove(self._renew)
        self._attention.close()
        self._wakeup.close()
        self._prober.close()
        for entrance, recheck in zip(self._entrances, self._rechecks, strict=True):
            entrance.close()
            recheck.close()
        for root in self.roots:
            root.scanner.close()

    def loop(self, until_idle_s: float | None = None) -> None:
        """Run until stopped, or idle."""
        runner = self._run.runner(live=True)
        runner.low_water_MB = self._guard.low_bytes / MB
        # Particles, maps and images elsewhere do not land: they are there. What lies below a root is judged first.
        self._run.admit_inputs(landing=[root.folder for root in self.roots])
        while not self._stopping:
            try:
                busy = self._turn(runner)
            except EnvironmentFault as error:
                self._endure(error)
                continue
            if runner.stopping:
                self.stop()
            # What is held because it keeps failing does not get done by waiting; the last run tries it once more.
            is_held = bool(runner.breaker.failing()) and runner.resting and not runner.held
            if until_idle_s is None or not (not busy or is_held or runner.waits_in_vain):
                continue
            if self._is_idle(until_idle_s):
                self._finish(runner)
                return

    def _renew(self) -> None:
        """Go on with the configuration that is in force now."""
        self._config = self._run.config.watch
        self._attention.renew()
        section = self._run.config.input("movies")
        self._prober.close()
        self._prober = Prober(self._run.config.plugin_files, self._run.config.blocked)
        self._doorstep.renew(self._config, section.n_frames_expected if section else None, self._prober)
        for root, entrance in zip(self.roots, self._entrances, strict=True):
            root.renew(self._config)
            entrance.renew()

    def _reload(self) -> None:
        """Read the configuration anew; where the disk refuses, later."""
        self._reload_asked = False
        try:
            with suppress(ConfigError, PluginError):  # the journal says why it was refused
                self._run.reload()
        except EnvironmentFault:
            self._reload_asked = True
            raise

    def _turn(self, runner: Runner) -> bool:
        """Do what is due; returns whether the runner has work."""
        now_s = time.monotonic()
        self._outbox.flush()  # what a full disk refused
        if self._reload_asked:
            self._reload()
        self._scan(now_s)
        if now_s >= self._attend_due_s:  # rescans may be far apart
            self._attend()
        self._look()
        pressed = self.rescans.is_pressed
        if not self._guard.reason:
            self._admit_ready()
            pressed = pressed or any(entrance.is_pressed for entrance in self._entrances)
        pressed = pressed or self._look_due_s() <= time.monotonic()
        runner.away = [root.folder for root in self.roots if root.offline]
        asked = [root for root in self.roots if root.is_asked and not root.is_silent]
        busy = runner.step(0.0 if pressed else GLANCE_S if asked else STEP_S)
        resting = not pressed and (runner.resting or not busy)
        wait_s = min(MAX_WAIT_S, self._until_due_s()) if resting else 0.0
        if asked:
            linger(asked, min(wait_s, STEP_S))
            wait_s = 0.0
        if self._wakeup.wait(min(wait_s, STEP_S) if any(root.is_asked for root in self.roots) else wait_s):
            self.rescans.hint()
        return busy

    # -- what landed ----------------------------------------------------------------------------------------------
    def _scan(self, now_s: float) -> None:
        """Begin the rescans that are due, take in what others have found by now, and draw the sum of those that end."""
        if now_s >= self.rescans.due_s:
            self._wakeup.tend()
            self._guard.check()
            self.rescans.begin(now_s, datetime.now(UTC).isoformat(timespec="seconds"))
        for one in self.rescans.go_on():
            self._scanned(one)

    def _scanned(self, one: Round) -> None:
        """Take note that a root was looked through, whole, or is away."""
        cpu_s = time.thread_time()
        self._tell_outages()
        accounts.check([one.root], self._run.state)
        if news := one.root.doubts.news():
            self._run.bus.publish(RootRemarked, root=os.fspath(one.root.folder), remark=news)
        self._watermarks.note([one.root], one.up_to_utc, one.start_s)
        now_s = time.monotonic()
        if not one.n_over:
            self._last_change_s = now_s  # starting up is not idling
        one.over(now_s, self._config.poll_s, time.thread_time() - cpu_s + one.root.scan_cpu_s)
        self._generation += 1
        if now_s >= self._attend_again_s:
            self._attend()
        if self.on_tick is not None:
            self.on_tick(self._tick(one.took_s))

    def _attend(self) -> None:
        """See whether an alarm is to be raised or is over."""
        start_s = time.monotonic()
        self._attention.look(self.roots, self._run.runner(live=True), self._guard)
        now_s = time.monotonic()
        self._attend_due_s, self._attend_again_s = now_s + ATTEND_S, now_s + ATTENTION_APART * (now_s - start_s)

    def _note_change(self, at_s: float) -> None:
        self._last_change_s = max(self._last_change_s, at_s)

    def _look(self) -> None:
        """Look at some of the files that are due; where more are, others have their turn before, and no more."""
        now_s = time.monotonic()
        if now_s >= self._look_due_s():
            for one in self.rescans.rounds:
                if one.due_s > now_s:  # else it is to be looked through first
                    one.root.begin_look(now_s)
            linger(self.roots, GLANCE_S)
            more = any(root.next_look_s <= now_s for root in self.roots)
            gap_s = min(self._config.poll_s, max(MIN_GAP_S / 2, self._config.settle_s / LOOKS_A_SETTLING))
            self._next_look_s = 0.0 if more else time.monotonic() + gap_s
        self._publish([one for root in self.roots for one in root.looked(0.0) or ()])

    def _look_due_s(self) -> float:
        return max(self._next_look_s, min(root.next_look_s for root in self.roots))

    def _admit_ready(self) -> None:
        end_s = time.monotonic() + ADMIT_S
        for entrance, recheck in zip(self._entrances, self._rechecks, strict=True):
            decided = entrance.work(end_s)
            if recheck.work(is_free=entrance.is_free) or decided or self._stopping:
                self._last_change_s = time.monotonic()

    # -- accounts -------------------------------------------------------------------------------------------------
    def counts(self) -> dict[str, int]:
        """Return how many files have each status, and their sum as ``seen``."""
        return accounts.counts(self.roots)

    def check_arithmetic(self) -> None:
        """Check that every file has exactly one status, here, on the disk and in the journal alike."""
        accounts.check([root for root in self.roots if not root.is_scanned], self._run.state)

    def _tick(self, scan_s: float) -> Tick:
        pending = [entry for root in self.roots for entry in root.pending() if entry.reason]
        return Tick(
            self._generation,
            self.counts(),
            self._run.state.task_counts(),
            {os.fspath(root.folder): root.offline for root in self.roots if root.offline},
            {entry.path: entry.reason for entry in pending},
            self._guard.reason or self._run.runner(live=True).paused or self._run.runner(live=True).held,
            "; ".join(filter(None, (self._wakeup.note, *(root.doubts.note for root in self.roots)))),
            scan_s,
        )

    # -- waiting and ending -------------------------------------------------------------------------------------
    def _until_due_s(self) -> float:
        due_s = min(self.rescans.due_s, self._look_due_s())
        if not self._guard.reason:  # else nothing is read again
            due_s = min(due_s, *(recheck.due_s for recheck in self._rechecks))
        reading = [one.is_reading for one in self._entrances] + [one.is_reading for one in self._rechecks]
        if any(reading):
            due_s = min(due_s, time.monotonic() + MIN_GAP_S)
        return max(0.0, due_s - time.monotonic())

    def _is_idle(self, until_idle_s: float) -> bool:
        waits = any(not entry.held for root in self.roots for entry in root.pending())
        waits = waits or any(recheck.is_urgent for recheck in self._rechecks)
        lost = any(root.offline for root in self.roots)
        if waits or lost or time.monotonic() - self._last_change_s < until_idle_s:
            return False
        if self.rescans.looked_s >= self._last_change_s + until_idle_s:
            return True
        self.rescans.now()  # nobody has looked for that long: rescans may be far apart
        return False

    def _finish(self, runner: Runner) -> None:
        """Let the stages over the whole set have their last run."""
        runner.live = False
        runner.look()
        while not (self._stopping or runner.stopping) and runner.step(STEP_S):
            pass

    def _endure(self, error: EnvironmentFault) -> None:
        """Make room for the journal's last words and try again later; what was acknowledged is safe."""
        del error
        self._guard.release()
        self._wakeup.wait(self._config.poll_s)
        self._guard.check()

    def _publish(self, said: list[Said]) -> None:
        for cls, payload in said:
            self._outbox.say(cls, **payload)
        self._outbox.flush()

    def _tell_outages(self) -> None:
        for root in self.roots:
            if root.offline and root.folder not in self._lost:
                self._run.bus.publish(RootLost, root=os.fspath(root.folder), reason=root.offline)
                self._lost.add(root.folder)
            elif not root.offline and root.folder in self._lost:
                self._run.bus.publish(RootFound, root=os.fspath(root.folder))
                self._lost.discard(root.folder)
