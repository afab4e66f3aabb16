"""``cryoframe status``: how far a run has come, whoever is at it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cryoframe.cli.output import emit, json_flag, say
from cryoframe.cli.runs import folder_of, in_charge, looking_into, run_argument


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    run_argument(parser)
    parser.add_argument("--verify", action="store_true", help="compare every stored product with its digest")
    parser.add_argument("--rejected", action="store_true", help="list the files that cannot be used, with the reason")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Show counts, what was given up, and who is in charge; 1 when --verify finds damage."""
    folder = folder_of(options.where)
    facts, damage = _facts(folder, verify=options.verify)
    if options.where is not None and options.where.suffix == ".toml":
        from cryoframe.cli.run import in_order
        from cryoframe.kernel.config import load

        facts = in_order(facts, [stage.id for stage in load(options.where).stages])
    if options.json:
        emit(facts)
        return int(bool(damage))
    from cryoframe.cli.run import write

    write(facts)
    say(f"in charge: {facts['in_charge'] or 'nobody; `cryoframe run` or `cryoframe watch` goes on from here'}")
    for entry in facts["rejected"] if options.rejected else ():
        say(f"rejected: {entry['path']}: {entry['reason']}")
    for line in damage:
        say(f"damaged: {line}")
    return int(bool(damage))


def _facts(folder: Path, *, verify: bool) -> tuple[dict[str, Any], list[str]]:
    with looking_into(folder) as (state, store):
        damage = [f"{problem.path}: {problem.what}" for problem in store.verify()] if verify else []
        facts: dict[str, Any] = {
            "name": folder.resolve().name,
            "folder": str(folder),
            "in_charge": in_charge(folder),
            "files": state.file_counts(),
            "tasks": state.task_counts(),
            "given_up": [(task.stage_id, task.item_id, task.message) for task in state.tasks(status="given_up")],
            "rejected": [{"path": row.path, "reason": row.reason} for row in state.files("rejected")],
        }
    return facts | ({"damage": damage} if verify else {}), damage
