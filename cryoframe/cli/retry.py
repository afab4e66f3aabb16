"""``cryoframe retry``: lists what was given up, and queues it again."""

from __future__ import annotations

import argparse

from cryoframe.cli.output import emit, json_flag, say, table
from cryoframe.cli.runs import folder_of, in_charge, looking_into, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    parser.add_argument("--stage", metavar="ID", help="of this stage only")
    parser.add_argument("--item", metavar="ID", help="of this item only")
    parser.add_argument("--all", action="store_true", help="queue all of it again")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """List, or with --all, --stage or --item queue again; the next `cryoframe run` or `watch` takes it up."""
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
    _queue([(task.stage_id, task.item_id) for task in tasks], folder_of(options.where))
    if options.json:
        emit({"queued": [[task.stage_id, task.item_id] for task in tasks]})
    else:
        say(f"{len(tasks)} queued again; `cryoframe run` or `cryoframe watch` takes them up")
    return 0


def _require_stage(name: str | None, stages: list[str]) -> None:
    from cryoframe.errors import ConfigError, nearest

    known = list(dict.fromkeys(stages))
    if name is not None and name not in known:
        expected = f"one of {', '.join(known)}" if known else ""
        raise ConfigError(f"no stage of this run is called '{name}'{nearest(name, known)}", expected=expected)


def _queue(tasks: list[tuple[str, str]], folder: object) -> None:
    from pathlib import Path

    from cryoframe.errors import ConfigError
    from cryoframe.records import events
    from cryoframe.records.bus import Bus
    from cryoframe.records.database import Database
    from cryoframe.records.journal import Journal

    place = Path(str(folder))
    if holder := in_charge(place):
        raise ConfigError(
            f"the run is in the charge of {holder}", remedy="Stop it (Ctrl-C), retry, and start it again."
        )
    database = Database.open(place / "state.sqlite")
    try:
        bus = Bus(Journal(database), place.resolve().name)
        bus.publish_many([bus.make(events.StageRetried, stage_id=stage, item_id=item) for stage, item in tasks])
    finally:
        database.close()
