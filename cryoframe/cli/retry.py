"""``cryoframe retry``: lists what was given up, and queues it again."""

from __future__ import annotations

import argparse
from pathlib import Path

from cryoframe.cli import asking
from cryoframe.cli.output import emit, json_flag, say, table
from cryoframe.cli.runs import DATABASE, folder_of, in_charge, looking_into, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    parser.add_argument("--stage", metavar="ID", help="of this stage only")
    parser.add_argument("--item", metavar="ID", help="of this item only")
    parser.add_argument("--all", action="store_true", help="queue all of it again")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """List, or with --all, --stage or --item queue again: at once where a process is at work, else by the next one."""
    from cryoframe.execution.attempts import kept_tracebacks

    folder = folder_of(options.where)
    with looking_into(folder) as (state, _):
        _require_stage(options.stage, [task.stage_id for task in state.tasks()])
        tasks = [task for task in state.tasks(options.stage, "given_up") if options.item in (None, task.item_id)]
    if not (options.all or options.stage or options.item):
        kept = kept_tracebacks(folder, tasks)
        rows = [
            [t.stage_id, t.item_id, t.attempts, t.error_class, t.message, kept.get(f"{t.stage_id} {t.item_id}")]
            for t in tasks
        ]
        table(options, ["stage", "item", "attempts", "class", "message", "traceback"], rows)
        if not options.json:
            say(f"{len(tasks)} given up" + ("; `--all` queues them again" if tasks else ""))
        return 0
    said = _again([(task.stage_id, task.item_id) for task in tasks], folder, options)
    if options.json:
        emit({"queued": [[task.stage_id, task.item_id] for task in tasks]})
    else:
        say(said)
    return 0


def _again(tasks: list[tuple[str, str]], folder: Path, options: argparse.Namespace) -> str:
    """Queue tasks, or have the process at work do it; returns what came of it, in words."""
    if tasks and in_charge(folder):
        return asking.ask(folder, "retry", stage=options.stage or "", item=options.item or "")
    if tasks:
        _queue(tasks, folder)
    return f"{len(tasks)} queued again" + ("; `cryoframe run` or `cryoframe watch` takes them up" if tasks else "")


def _require_stage(name: str | None, stages: list[str]) -> None:
    from cryoframe.errors import ConfigError, nearest

    known = list(dict.fromkeys(stages))
    if name is not None and name not in known:
        expected = f"one of {', '.join(known)}" if known else ""
        raise ConfigError(f"no stage of this run is called '{name}'{nearest(name, known)}", expected=expected)


def _queue(tasks: list[tuple[str, str]], folder: Path) -> None:
    from cryoframe.records import events
    from cryoframe.records.bus import Bus
    from cryoframe.records.database import Database
    from cryoframe.records.journal import Journal

    database = Database.open(folder / DATABASE)
    try:
        bus = Bus(Journal(database), folder.resolve().name)
        bus.publish_many([bus.make(events.StageRetried, stage_id=stage, item_id=item) for stage, item in tasks])
    finally:
        database.close()
