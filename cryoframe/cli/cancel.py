"""``cryoframe cancel``: stops what runs, and the process in charge with it; what was done is kept."""

from __future__ import annotations

import argparse

from cryoframe.cli import asking
from cryoframe.cli.output import json_flag
from cryoframe.cli.runs import folder_of, in_charge, run_argument
from cryoframe.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Cancel."""
    folder = folder_of(options.where)
    if not in_charge(folder):
        raise ConfigError(f"nobody is at work on {folder}", remedy="There is nothing to cancel.")
    return asking.report(options, asking.ask(folder, "cancel"))
