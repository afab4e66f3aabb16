"""``cryoframe plan``: what a configuration would run, from what, what is missing. Plugins load in a process apart."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.cli.plugins import collect

if TYPE_CHECKING:
    from cryoframe.errors import CryoframeError
    from cryoframe.kernel.config import RunConfig
    from cryoframe.kernel.plan import Plan


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, metavar="FILE.toml", help="the configuration")
    parser.add_argument("--quick", action="store_true", help="import no plugin: parameters are not checked")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Explain the plan; exit code 2 when it cannot run."""
    from cryoframe.kernel.config import load
    from cryoframe.kernel.plan import make_plan

    config = load(options.config)
    plugins = collect(options.config)
    plan = make_plan(config, plugins)
    if not options.quick:
        plan = dataclasses.replace(plan, problems=(*plan.problems, *_refusals(options.config)))
    remarks = _remarks(config)
    if options.json:
        emit(_facts(plan) | {"remarks": remarks})
    else:
        say(f"{config.name}: {config.folder}, device {config.device}, {config.workers} workers, seed {config.seed}")
        for line in plan.explain():
            (complain if line.startswith("problem") else say)(line)
        for line in remarks:
            say(f"remark: {line}")
    return 2 if plan.problems else 0


def _refusals(path: Path) -> list[CryoframeError]:
    """Have every plugin and what is set for it looked at, as a run does before it begins."""
    from cryoframe.errors import PluginError

    command = [sys.executable, "-m", "cryoframe.execution.rehearsal", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return [PluginError(f"the plugins cannot be described: {last}")]
    return [PluginError(str(what)) for what in json.loads(done.stdout.splitlines()[-1])]


def _remarks(config: RunConfig) -> list[str]:
    """Return what is assumed, and which patterns match nothing now."""
    empty = [] if config.watch.folders else [section for section in config.inputs if not section.paths()]
    found = [". ".join(part for part in (section.nothing(), section.instead()) if part) for section in empty]
    return [text for text in (config.optics_remark(), *found) if text]


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
