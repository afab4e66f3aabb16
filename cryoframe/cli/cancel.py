"""``cryoframe cancel``: stops what runs, and the process in charge with it; what was done is kept."""

from __future__ import annotations

import argparse

from cryoframe.cli import asking
from cryoframe.cli.output import json_flag
from cryoframe.cli.runs import run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Cancel."""
    return asking.ask_at_work(options, "cancel", otherwise="There is nothing to cancel.")
