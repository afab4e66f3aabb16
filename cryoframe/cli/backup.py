"""``cryoframe backup``: a consistent copy of a run's state while work goes on; the products lie beside it as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from cryoframe.cli.output import emit, json_flag, say
from cryoframe.cli.runs import DATABASE, folder_of, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help="the copy; in the run folder's `backups`, named by the time, if absent"
    )
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Copy, and say what the copy holds."""
    import time

    from cryoframe.records import folders
    from cryoframe.records.backup import backup

    folder = folder_of(options.where)
    target = options.to or folder / "backups" / time.strftime("%Y-%m-%dT%H%M%SZ.sqlite", time.gmtime())
    folders.made(target.absolute().parent, "--to", remedy="Give another file.")
    done = backup(folder / DATABASE, target)
    if options.json:
        emit({"path": str(target), "events": done.n_events, "last_event_id": done.last_event_id})
    else:
        say(f"{target}: {done.n_events} events")
        # A log of the old database beside the new one would be written into it.
        say(f"to go back: stop the run, remove {DATABASE}, {DATABASE}-wal and {DATABASE}-shm, copy this there")
    return 0
