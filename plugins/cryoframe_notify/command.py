"""Hook: notify ``command``, which runs a program of yours: the alarm in its environment and, as JSON, on its stdin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass

from cryoframe import Alarm, hookimpl
from cryoframe.errors import EnvironmentFault
from cryoframe.numerics.bounds import check_bounds
from cryoframe_notify.settings import require, settings_of


@dataclass(frozen=True)
class Params:
    """What is run; no shell reads it."""

    command: tuple[str, ...] = ()  # program and arguments, e.g. ["/usr/local/bin/page", "--urgent"]
    timeout_s: float = 30.0  # after this it is killed, with all it started

    def __post_init__(self) -> None:
        require(self.command, "command", '["/path/to/program"]')
        check_bounds(self, timeout_s=(0.1, 3600.0))


@hookimpl
def notify(alarm: Alarm) -> None:
    """Run the program and wait for its end; an exit status other than 0 is a failure."""
    params = settings_of(alarm, Params)
    facts = {name: getattr(alarm, name) for name in ("kind", "subject", "message", "run_id", "folder", "time_utc")}
    environment = {f"CRYOFRAME_ALARM_{name.upper()}": _clean(value) for name, value in facts.items()}
    environment["CRYOFRAME_ALARM_RAISED"] = str(int(alarm.raised))
    try:
        process = subprocess.Popen(
            params.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            start_new_session=True,
            cwd="/",
        )
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{params.command[0]} cannot be run ({error})") from error
    try:
        process.communicate(json.dumps(facts | {"raised": alarm.raised}).encode(), timeout=params.timeout_s)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise EnvironmentFault(f"{params.command[0]} took longer than {params.timeout_s:g} s") from error
    if process.returncode:
        raise EnvironmentFault(f"{params.command[0]} ended with status {process.returncode}")


def _clean(value: str) -> str:
    """Return text that an environment can hold: file names may have any byte, variables no NUL."""
    return value.replace("\0", "\\0")
