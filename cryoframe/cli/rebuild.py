"""``cryoframe rebuild``: makes a run's state anew from its log and store; a damaged database is kept aside."""

from __future__ import annotations

import argparse

from cryoframe.cli.output import emit, json_flag, say
from cryoframe.cli.runs import folder_of, in_charge, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Rebuild, and say what was found."""
    from cryoframe.errors import ConfigError
    from cryoframe.records.rebuild import rebuild

    folder = folder_of(options.where)
    if holder := in_charge(folder):
        raise ConfigError(f"the run is in the charge of {holder}", remedy="Stop it (Ctrl-C) and rebuild then.")
    done = rebuild(folder)
    if options.json:
        aside = str(done.set_aside) if done.set_aside else ""
        unreadable = done.n_unreadable
        emit({"events": done.n_events, "adopted": done.n_adopted, "unreadable": unreadable, "set_aside": aside})
        return 0
    say(f"{done.n_events} events folded, {done.n_adopted} products adopted from the store")
    if done.n_unreadable:
        say(f"{done.n_unreadable} events could not be read and are left out; the log says which")
    if done.set_aside:
        say(f"the damaged database is kept as {done.set_aside}; files it knew are admitted again by the next run")
    return 0
