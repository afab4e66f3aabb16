"""Events of a session that stays up for days: alarms, holding, reloading, the watermark; work itself is in `events`."""

from __future__ import annotations

from cryoframe.records.events import Event, FileEvent


class FileUnchanged(FileEvent):
    """An admitted file of which only the ctime had changed was read again, and has the content it had."""

    digest: str
    ctime_ns: int


class RootRemarked(Event):
    """Something about a watched folder that a person should know; it is no alarm."""

    root: str
    remark: str


class AlarmRaised(Event):
    """A condition began that a person should look at; said once, however long it lasts."""

    kind: str
    subject: str
    message: str


class AlarmCleared(Event):
    """The condition is over."""

    kind: str
    subject: str


class AlarmUnsent(Event):
    """A notifier could not send an alarm on; the alarm stands all the same."""

    notifier: str
    kind: str
    subject: str
    error: str


class StageHeld(Event):
    """A stage's implementation keeps failing: nothing of it is started but one attempt now and then."""

    stage_id: str
    plugin: str
    reason: str


class StageReleased(Event):
    """An attempt went well, or somebody asked: the stage goes on."""

    stage_id: str
    plugin: str
    reason: str


class RunHeld(Event):
    """Somebody paused the run: nothing new is started, by this process or the next, until :class:`RunReleased`."""

    who: str


class RunReleased(Event):
    """Somebody resumed the run."""

    who: str


class RunCancelled(Event):
    """Somebody ended all attempts in progress, and the process in charge with them."""

    who: str


class BackupMade(Event):
    """A consistent copy of the state was written; it holds every event up to `last_event_id`."""

    path: str
    last_event_id: str


class ConfigReloaded(Event):
    """The configuration was read anew and is in force; `changes` names what differs."""

    old_digest: str
    config_digest: str
    changes: tuple[str, ...]


class ConfigRefused(Event):
    """A new configuration was asked for and cannot be used; the old one stays in force."""

    reason: str


class StageSwapped(Event):
    """A stage has another implementation, or other settings, from now on; what it made before is kept."""

    stage_id: str
    old: str
    new: str


class EventUnreadable(Event):
    """An event of the log could not be read and was left out when the log was written anew; `kept_in` has it still."""

    number: int
    named: str
    reason: str
    kept_in: str


class Reconciled(Event):
    """A rescan found every file of a root accounted for: the watermark. Said when something changed, else seldom.

    `up_to_utc` is when the rescan began: what was there then has a state.
    """

    root: str
    generation: int
    n_files: int
    up_to_utc: str
