"""``cryoframe resume``: ends a pause; lets go on what is held because it kept failing."""

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
    parser.add_argument("--stage", metavar="ID", default="", help="let go on this held stage only; a pause stays")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Resume."""
    folder = folder_of(options.where)
    if in_charge(folder):
        return asking.report(options, asking.ask(folder, "resume", stage=options.stage))
    return asking.report(options, "nobody is at work" if options.stage else asking.alone(folder, _resume))


def _resume(bus: Bus, state: State) -> str:
    from cryoframe.records.session_events import RunReleased

    if not state.held():
        return "nothing was paused"
    bus.publish(RunReleased, who=asking.whoami())
    return "the pause is over; `cryoframe run` or `cryoframe watch` goes on"
