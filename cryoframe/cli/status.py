"""``cryoframe status``: how far a run has come, whoever is at it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.cli.runs import folder_of, in_charge, looking_into, name_of, remarks, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    parser.add_argument("--verify", action="store_true", help="compare every stored product with its digest")
    parser.add_argument(
        "--rejected", action="store_true", help="list every file that cannot be used, not the first 20 only"
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write one row a micrograph, as .arrow, .csv or .html by its name"
    )
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Show counts, what was given up, and who is in charge; 1 when --verify finds damage."""
    folder = folder_of(options.where)
    if options.table is not None:
        _write_table(folder, options.table)
    facts, damage = _facts(folder, verify=options.verify)
    if options.where is not None and options.where.suffix == ".toml":
        from cryoframe.cli.run import in_order
        from cryoframe.kernel.config import load

        facts = in_order(facts, [stage.id for stage in load(options.where).stages])
    if options.json:
        emit(facts)
        return int(bool(damage))
    from cryoframe.cli.run import MAX_REJECTED, write

    write(facts)
    say(f"in charge: {facts['in_charge'] or 'nobody; `cryoframe run` or `cryoframe watch` goes on from here'}")
    for alarm in facts["alarms"]:
        say(f"alarm since {alarm['since']}: {alarm['kind']} {alarm['subject']}: {alarm['message']}")
    for root, up_to_utc in facts["complete_up_to"].items():
        say(f"{root}: every file there at {up_to_utc} is accounted for")
    if facts["paused"]:
        say(f"{facts['paused']}; `cryoframe resume` goes on")
    for entry in facts["rejected"][MAX_REJECTED:] if options.rejected else ():
        complain(f"rejected: {entry['path']}: {entry['reason']}")
    for line in damage:
        say(f"damaged: {line}")
    return int(bool(damage))


def _facts(folder: Path, *, verify: bool) -> tuple[dict[str, Any], list[str]]:
    from cryoframe.execution.attempts import kept_tracebacks

    with looking_into(folder) as (state, store):
        damage = [f"{problem.path}: {problem.what}" for problem in store.verify()] if verify else []
        holder, given_up = in_charge(folder), state.tasks(status="given_up")
        facts: dict[str, Any] = {
            "name": name_of(folder),
            "folder": str(folder),
            "in_charge": holder,
            "files": state.file_counts(),
            "tasks": state.task_counts() if holder else _ended(state.task_counts()),
            "given_up": [(task.stage_id, task.item_id, task.message) for task in given_up],
            "tracebacks": kept_tracebacks(folder, given_up),
            "remarks": remarks(folder),
            "paused": state.held(),
            "alarms": [vars(alarm) for alarm in state.alarms()],
            "complete_up_to": {mark.root: mark.up_to_utc for mark in state.watermarks()},
            "rejected": [{"path": row.path, "reason": row.reason} for row in state.files("rejected")],
        }
    return facts | ({"damage": damage} if verify else {}), damage


def _write_table(folder: Path, path: Path) -> None:
    """Make the table of exposures from the log, whoever is in charge of the run.

    Raises
    ------
    ConfigError
        If the name says nothing of the format, or the file cannot be written there.
    """
    from cryoframe.errors import ConfigError
    from cryoframe.execution import exposures
    from cryoframe.records import folders

    if path.suffix not in (".arrow", ".csv", ".html"):
        raise ConfigError(
            f"--table: '{path.name}' names no format", expected="a name that ends in .arrow, .csv or .html"
        )
    folders.made(path.absolute().parent, "--table", remedy="Give another file.")
    with looking_into(folder) as (state, _):
        if path.suffix == ".arrow":
            exposures.write(state, path)
            return
        table = exposures.exposures(state)
    if path.suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(table.arrow, path)
        return
    from cryoframe.view.exposures import page

    path.write_text(page(name_of(folder), table, address=_seen_from(path, folder)), encoding="utf-8")


def _seen_from(path: Path, folder: Path) -> Callable[[str], str]:
    """Return how a page finds the pictures of a run folder."""
    import os
    from urllib.parse import quote

    way = os.path.relpath(folder.absolute(), path.absolute().parent)
    return lambda name: quote(f"{way}/{name}")


def _ended(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the counts of a run nobody is at: what was running was interrupted."""
    words = {"running": "interrupted"}
    return {stage: {words.get(name, name): n for name, n in by.items()} for stage, by in counts.items()}
