"""Alarms of a session at work: journalled, told once, over once, and not raised anew by the next process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from watched_session import Watched

from cryoframe.cli.runs import remarks
from cryoframe.errors import ConfigError, PluginError
from cryoframe.execution.run import Run
from cryoframe.kernel.config import load
from cryoframe.records.session_events import AlarmCleared, AlarmRaised, AlarmUnsent
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard

ALARM = """
[[alarm]]
use = "command"
params = { command = ["/bin/sh", "-c", "cat >> '%s'; echo >> '%s'"] }
kinds = ["share"]
[[alarm]]
use = "command"
params = { command = ["/bin/false"] }
"""


def _configured(watched: Watched, **limits: object) -> Path:
    path = watched.configure()
    text = path.read_text().replace('kind = "micrographs"', 'kind = "micrographs"\n' + "\n".join(
        f"{name} = {value}" for name, value in limits.items()
    ))  # fmt: skip
    told = watched.folder / "told"
    path.write_text(text + ALARM % (told, told))
    return told


def _turns(daemon: Daemon, seconds: float) -> None:
    runner = daemon._run.runner(live=True)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        daemon.rescans.now()
        daemon._turn(runner)


def test_a_share_that_goes_away__is_told_once_and_told_back_once(watched: Watched) -> None:
    told = _configured(watched, share_s=0.3)
    away = watched.folder / "elsewhere"
    with Run.open(watched.folder / "run.toml") as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        _turns(daemon, 0.3)
        watched.land.rename(away)
        _turns(daemon, 1.2)
        assert [(alarm.kind, alarm.subject) for alarm in run.state.alarms()] == [("share", str(watched.land))]
        daemon.close()
    with Run.open(watched.folder / "run.toml") as run:  # the process ended meanwhile: the alarm stands
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        _turns(daemon, 0.8)
        away.rename(watched.land)
        _turns(daemon, 0.8)
        daemon.close()
        assert run.state.alarms() == []
        alarms = [event for event in run.journal.replay() if isinstance(event, (AlarmRaised, AlarmCleared))]
        unsent = [event for event in run.journal.replay() if isinstance(event, AlarmUnsent)]
    assert [type(event) for event in alarms] == [AlarmRaised, AlarmCleared]
    sent = [json.loads(line) for line in told.read_text().splitlines()]
    assert [alarm["raised"] for alarm in sent] == [True, False]
    assert {event.error for event in unsent} <= {"/bin/false ended with status 1"}
    assert unsent


def test_an_alarm_nobody_knows__is_refused_with_the_nearest(watched: Watched) -> None:
    path = watched.configure()
    path.write_text(path.read_text() + '[[alarm]]\nuse = "log"\nkinds = ["stal"]\n')
    with pytest.raises(ConfigError, match="stall"):
        load(path)
    path.write_text(path.read_text().replace('["stal"]', "[]").replace("poll_s", "stall_s = 0\npoll_s"))
    with pytest.raises(ConfigError, match="stall_s is 0"):
        load(path)


def test_a_stage_whose_plugin_cannot_be_used__is_an_alarm_until_it_is_mended(watched: Watched) -> None:
    path = watched.configure()
    plugin = watched.folder / "trivial.py"
    whole = plugin.read_text()
    plugin.write_text(whole.replace("# factor on the mean", ""))  # a setting without a word of what it is
    watched.put("a.mrc", 1.0)
    with Run.open(path) as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        _turns(daemon, 0.8)
        (alarm,) = run.state.alarms()
        assert (alarm.kind, alarm.subject) == ("plugin", "stage 'ctf'")
        assert "Params.scale has no doc" in alarm.message
        assert run.state.task_counts() == {}
        plugin.write_text(whole)
        run.reload()
        end_s = time.monotonic() + 20.0
        while run.state.task_counts() != {"ctf": {"done": 1}} and time.monotonic() < end_s:
            _turns(daemon, 0.3)
        daemon.close()
        assert run.state.task_counts() == {"ctf": {"done": 1}}
        assert run.state.alarms() == []


def test_a_configuration_that_was_refused__is_remarked_on_until_one_is_in_force(watched: Watched) -> None:
    path = watched.configure()
    text = path.read_text()
    with Run.open(path) as run:
        run.runner(live=True)
        path.write_text(text + "params = { scael = 1.0 }\n")
        with pytest.raises(PluginError):
            run.reload()
        assert "scael" in remarks(run._database)[-1]
        path.write_text(text)
        run.reload()
        assert not any("was refused" in remark for remark in remarks(run._database))
