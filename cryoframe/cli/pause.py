"""``cryoframe pause``: nothing new is started, by this process or the next, until ``resume``; what runs goes on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cryoframe.cli import asking
from cryoframe.cli.output import json_flag
from cryoframe.cli.runs import folder_of, in_charge, run_argument

if TYPE_CHECKING:
    from cryoframe.records.bus import Bus
    from cryoframe.records.state import State


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Pause."""
    folder = folder_of(options.where)
    said = asking.ask(folder, "pause") if in_charge(folder) else asking.alone(folder, _pause)
    return asking.report(options, said)


def _pause(bus: Bus, state: State) -> str:
    from cryoframe.records.session_events import RunHeld

    if not state.held():
        bus.publish(RunHeld, who=asking.whoami())
    return f"{state.held()}; nobody is at work"
