"""``cryoframe reload``: the process at work reads its configuration anew; stages and plugins may be swapped so."""

from __future__ import annotations

import argparse

from cryoframe.cli import asking
from cryoframe.cli.output import json_flag
from cryoframe.cli.runs import run_argument

#: Every plugin is asked what it is before the swap.
RELOAD_S = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Reload; 2 if the new configuration cannot be used, and the old one stays in force."""
    return asking.ask_at_work(
        options, "reload", otherwise="The next `cryoframe watch` reads it anyway.", timeout_s=RELOAD_S
    )
