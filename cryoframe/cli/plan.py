"""``cryoframe plan``: what a configuration would run, from what, and what is missing. Imports no plugin."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.cli.plugins import collect

if TYPE_CHECKING:
    from cryoframe.kernel.plan import Plan


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, metavar="FILE.toml", help="the configuration")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Explain the plan; exit code 2 when it cannot run."""
    from cryoframe.kernel.config import load
    from cryoframe.kernel.plan import make_plan

    config = load(options.config)
    plan = make_plan(config, collect(options.config))
    if options.json:
        emit(_facts(plan))
    else:
        say(f"{config.name}: {config.folder}, device {config.device}, {config.workers} workers, seed {config.seed}")
        for line in plan.explain():
            (complain if line.startswith("problem") else say)(line)
    return 2 if plan.problems else 0


def _facts(plan: Plan) -> dict[str, object]:
    stages = [
        {
            "id": node.id,
            "hook": node.spec.hook,
            "use": node.offer.qualified,
            "version": node.offer.version,
            "over": node.domain,
            "inputs": {name: [str(source), *map(str, source.updates)] for name, source in node.wires.items()},
            "produces": node.spec.produces.__name__,
            "notes": list(node.notes),
        }
        for node in plan.nodes
    ]
    return {"stages": stages, "problems": [str(problem) for problem in plan.problems]}
