"""Hook: notify ``log``, one line a standard error or wherever Python's logging is sent; a service manager keeps it."""

from __future__ import annotations

import logging

from cryoframe import Alarm, hookimpl


@hookimpl
def notify(alarm: Alarm) -> None:
    """Write one line: a warning when it begins, a remark when it is over."""
    logging.getLogger("cryoframe.alarm").log(logging.WARNING if alarm.raised else logging.INFO, "%s", alarm.line)
