"""What a run would refuse before it begins: each plugin is described, in a process apart. Wiring is the plan's own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from cryoframe.errors import PluginError
from cryoframe.execution import attempts
from cryoframe.execution.executor import mute
from cryoframe.execution.processes import Processes
from cryoframe.kernel import discovery
from cryoframe.kernel.config import RunConfig, load
from cryoframe.kernel.plan import Plan, make_plan
from cryoframe.kernel.plugins import Plugins

_POLL_S = 0.5


def refusals(config: RunConfig, plan: Plan, plugins: Plugins) -> tuple[PluginError, ...]:
    """Return why a plugin or its parameters cannot be used, in the order of the plan."""
    found: dict[str, PluginError] = {}
    with tempfile.TemporaryDirectory(prefix="cryoframe-plan-") as folder:
        executor = Processes(mute, folder=Path(folder))
        try:
            waiting = {}
            for node in plan.nodes:
                scratch = Path(folder) / node.id
                scratch.mkdir()
                waiting[executor.submit(attempts.description(config, plugins, node, scratch))] = node
            while waiting:
                for outcome in executor.poll(_POLL_S):
                    node = waiting.pop(outcome.ticket)
                    if outcome.error_class:
                        found[node.id] = attempts.refusal(node, outcome)
        finally:
            executor.close()
    return tuple(found[node.id] for node in plan.nodes if node.id in found)


def main(path: str) -> None:
    """Write the refusals of a configuration as JSON: for who only looks, and need not import what describing takes."""
    config = load(path)
    plugins = Plugins((*discovery.scan(), *discovery.local_offers(config.plugin_files)), config.blocked)
    found = refusals(config, make_plan(config, plugins), plugins)
    sys.stdout.write(json.dumps([error.what for error in found]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
