"""``cryoframe status``: how far a run has come, whoever is at it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.cli.runs import folder_of, name_of, opened, remarks, run_argument

if TYPE_CHECKING:
    from cryoframe.view.condition import Condition

#: What fails and is tried again: so much of it is said.
MAX_FAILED = 3


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
    """Show who is at work, what stands still, counts, and what was given up; 1 when --verify finds damage."""
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
    _say(facts)
    from cryoframe.cli.run import MAX_REJECTED

    for entry in facts["rejected"][MAX_REJECTED:] if options.rejected else ():
        complain(f"rejected: {entry['path']}: {entry['reason']}")
    for line in damage:
        say(f"damaged: {line}")
    return int(bool(damage))


def _say(facts: dict[str, Any]) -> None:
    """Write the status for people: the state and what stands still first."""
    from cryoframe.cli.run import write

    say(f"{facts['state']}: {facts['because']}")
    for alarm in facts["alarms"]:
        say(f"ALARM since {_minute(alarm['since'])}: {alarm['kind']} {alarm['subject']}: {alarm['message']}")
    if facts["paused"]:
        say(f"{facts['paused']}; `cryoframe resume` goes on")
    told = {(alarm["kind"], alarm["subject"]) for alarm in facts["alarms"]}
    for one in facts["stands_still"]:
        if (one["kind"], one["subject"]) in told:
            continue
        way = f"; `cryoframe resume --stage {one['subject']}` tries it now" if one["kind"] == "stage" else ""
        say(f"stands still since {_minute(one['since'])}: {one['kind']} {one['subject']}: {one['reason']}{way}")
    write(facts)
    failed = facts["failed"]
    for stage, item, message in failed[:MAX_FAILED]:
        say(f"failed, and is tried again: {stage} {item}: {message}")
    if len(failed) > MAX_FAILED:
        say(f"failed, and are tried again: {len(failed) - MAX_FAILED} more; --json lists all")
    for root, up_to_utc in facts["complete_up_to"].items():
        say(f"{root}: every file that was there at {_minute(up_to_utc)} is accounted for")
    free_GB, whole_GB = facts["disk_GB"]
    own_MB, all_MB = facts["memory_MB"]
    used = f"; memory of the process {own_MB:.0f} MB, of all it started {all_MB:.0f} MB" if own_MB else ""
    say(f"disk of the run: {free_GB:.0f} of {whole_GB:.0f} GB free{used}")
    if facts["given_up"]:
        say("`cryoframe retry --all` (or --stage, --item) queues what was given up again")


def _minute(time_utc: str) -> str:
    return f"{time_utc[:10]} {time_utc[11:16]} UTC" if time_utc else "a time that is not known"


def _facts(folder: Path, *, verify: bool) -> tuple[dict[str, Any], list[str]]:
    from cryoframe.execution.attempts import kept_tracebacks
    from cryoframe.records.state import State
    from cryoframe.records.store import Store
    from cryoframe.view.condition import Watcher

    with opened(folder, examine=verify) as database:
        state = State(database)
        damage = [f"{problem.path}: {problem.what}" for problem in Store(folder).verify()] if verify else []
        tasks, given_up = state.task_counts(), state.tasks(status="given_up")
        n_left = sum(counts.get(name, 0) for counts in tasks.values() for name in ("queued", "running", "failed"))
        now = Watcher(folder).look(database, n_left=n_left)
        facts: dict[str, Any] = {
            "name": name_of(folder, database),
            "folder": str(folder),
            "state": now.word,
            "because": _because(now),
            "in_charge": now.holder,
            "since": now.began_utc,
            "last_event": now.last_utc,
            "files": state.file_counts(),
            "tasks": tasks if now.holder else _ended(tasks),
            "given_up": [(task.stage_id, task.item_id, task.message) for task in given_up],
            "failed": [(task.stage_id, task.item_id, task.message) for task in state.tasks(status="failed")],
            "tracebacks": kept_tracebacks(folder, given_up),
            "remarks": remarks(database),
            "paused": now.held,
            "stands_still": [vars(sign) for sign in now.stands],
            "alarms": [vars(alarm) for alarm in now.alarms],
            "complete_up_to": {mark.root: mark.up_to_utc for mark in now.watermarks},
            "rejected": [{"path": row.path, "reason": row.reason} for row in state.files("rejected")],
            "disk_GB": now.disk_GB,
            "memory_MB": now.memory_MB,
        }
    return facts | ({"damage": damage} if verify else {}), damage


def _because(now: Condition) -> str:
    """Return who is at work since when, or that nobody is, since when and why."""
    if now.holder:
        return f"in the charge of {now.holder}"
    if now.end == "lost":
        was = f" ({now.last_holder})" if now.last_holder else ""
        return (
            f"whoever was{was} is gone without a word, killed or with its machine; the last thing noted was at"
            f" {_minute(now.last_utc)}. `cryoframe run` or `cryoframe watch` goes on from here"
        )
    broke = f"it broke off at {_minute(now.last_utc)}: {now.failed}" if now.failed and not now.cancelled else ""
    said = broke or now.cancelled or f"in good order at {_minute(now.last_utc)}"
    return f"{said}; nobody is at work. `cryoframe run` or `cryoframe watch` goes on from here"


def _write_table(folder: Path, path: Path) -> None:
    """Make the table of exposures from the log, whoever is in charge of the run.

    Raises
    ------
    ConfigError
        If the name says nothing of the format, or the file cannot be written there.
    """
    from cryoframe.errors import ConfigError
    from cryoframe.execution import exposure_table
    from cryoframe.records import folders

    if path.suffix not in (".arrow", ".csv", ".html"):
        raise ConfigError(
            f"--table: '{path.name}' names no format", expected="a name that ends in .arrow, .csv or .html"
        )
    folders.made(path.absolute().parent, "--table", remedy="Give another file.")
    with opened(folder) as database:
        table, name = exposure_table.whole(database), name_of(folder, database)
    if path.suffix == ".arrow":
        table.write(path)
        return
    if path.suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(table.arrow, path)
        return
    from cryoframe.view.exposures import page

    path.write_text(page(name, table, address=_seen_from(path, folder)), encoding="utf-8")


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
