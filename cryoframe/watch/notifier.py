"""Takes alarms to the notifiers, each on a thread of its own with a bounded queue; when one is due is not decided here.

Who raises an alarm never waits: a notifier that hangs fills its own queue, and what finds no place there is said lost.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cryoframe.data.alarm import Alarm
from cryoframe.errors import ConfigError, CryoframeError
from cryoframe.kernel import contract
from cryoframe.kernel.config import AlarmConfig
from cryoframe.kernel.plugins import Plugin, Plugins

HOOK = "notify"
MAX_WAITING, CLOSE_S = 64, 5.0


@dataclass(frozen=True)
class Unsent:
    """An alarm that a notifier did not send on, and why."""

    notifier: str
    alarm: Alarm
    error: str


class Notifier:
    """The notifiers of a session.

    Parameters
    ----------
    plugins
        What is installed; it is used by the notifiers' threads and has to be theirs alone.
    alarms
        Which are told of what; the one called ``log`` of everything where nobody is named and it is installed.
    folder
        Relative paths in settings are taken from here.

    Raises
    ------
    ConfigError
        If one is not installed or its settings are wrong.
    """

    def __init__(self, plugins: Plugins, alarms: Sequence[AlarmConfig], folder: Path | None = None) -> None:
        if not alarms and any(offer.name == "log" for offer in plugins.offered(HOOK)):
            alarms = [AlarmConfig("log")]
        self._unsent: deque[Unsent] = deque(maxlen=4 * MAX_WAITING)
        self._lanes = [_Lane(plugins, config, folder, self._unsent) for config in alarms]

    def post(self, alarm: Alarm) -> None:
        """Hand an alarm over; returns at once."""
        for lane in self._lanes:
            lane.post(alarm)

    def unsent(self) -> list[Unsent]:
        """Return what went wrong since the last call."""
        found = []
        with suppress(IndexError):
            while True:
                found.append(self._unsent.popleft())
        return found

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Let what waits be sent, for a while."""
        for lane in self._lanes:
            lane.end()
        for lane in self._lanes:
            lane.join(timeout_s)


class _Lane:
    """One notifier, its queue and its thread."""

    def __init__(self, plugins: Plugins, config: AlarmConfig, folder: Path | None, unsent: deque[Unsent]) -> None:
        self._plugins, self._config, self._unsent = plugins, config, unsent
        self._plugin = plugins.load(plugins.select(HOOK, config.use))
        self._settings = _settings(self._plugin, config, folder)
        self._queue: queue.Queue[Alarm | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name=f"alarm {config.use}", daemon=True)
        self._thread.start()

    def post(self, alarm: Alarm) -> None:
        if self._config.kinds and alarm.kind not in self._config.kinds:
            return
        try:
            self._queue.put_nowait(replace(alarm, settings=self._settings))
        except queue.Full:
            self._unsent.append(Unsent(self._config.use, alarm, f"{MAX_WAITING} alarms wait for it already"))

    def end(self) -> None:
        with suppress(queue.Full):
            self._queue.put_nowait(None)

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (alarm := self._queue.get()) is not None:
            try:
                self._plugins.call(self._plugin, HOOK, {"alarm": alarm})
            except BaseException as error:  # whatever it does, the next alarm is to find this thread alive
                what = error.what if isinstance(error, CryoframeError) else f"{type(error).__name__}: {error}"
                self._unsent.append(Unsent(self._config.use, alarm, what[:500]))


def _settings(plugin: Plugin, config: AlarmConfig, folder: Path | None) -> object:
    cls = contract.params_class(plugin.module)
    where = f"[[alarm]] {config.use}: params"
    if cls is None:
        return dict(config.params)
    try:
        return contract.params_from(cls, config.params, where=where, folder=folder)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.what}", expected=error.expected, remedy=error.remedy) from error
