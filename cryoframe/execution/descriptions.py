"""Asks the plugins of a plan what they are, each in a process of its own; decides nothing about the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cryoframe.execution import attempts
from cryoframe.execution.executor import Executor, Outcome
from cryoframe.kernel.config import RunConfig
from cryoframe.kernel.plan import Node
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import events
from cryoframe.records.events import Event, Value
from cryoframe.records.store import Store

POLL_S = 0.5


def described(
    nodes: Iterable[Node], executor: Executor, *, config: RunConfig, plugins: Plugins, store: Store
) -> list[tuple[Node, Outcome]]:
    """Return what came of asking each stage's plugin what it is; trouble of the environment is tried again.

    Parameters
    ----------
    nodes
        The stages.
    executor
        Has nothing else to do meanwhile.
    config, plugins, store
        Of the run.
    """

    def submit(node: Node) -> str:
        scratch = store.scratch(node.id, "description", 0)
        return executor.submit(attempts.description(config, plugins, node, scratch))

    waiting = {submit(node): node for node in nodes}
    n_left, found = 2 * len(waiting), []
    while waiting:
        for outcome in executor.poll(POLL_S):
            node = waiting.pop(outcome.ticket)
            if outcome.error_class == "environment" and n_left:
                n_left -= 1
                waiting[submit(node)] = node
                continue
            for scratch in (store.folder / "scratch").glob(f"{node.id}.description.*"):
                store.discard(scratch)
            found.append((node, outcome))
    return found


def told(config: RunConfig, node: Node, outcome: Outcome) -> Iterator[tuple[type[Event], dict[str, Value]]]:
    """Yield what is to be said of an answer."""
    offer, said = node.offer, outcome.result
    if outcome.error_class:
        yield events.PluginRefused, {"hook": offer.hook, "name": offer.name, "reason": outcome.message}
        return
    where: dict[str, Value] = {"distribution": offer.distribution, "version": offer.version}
    yield events.PluginLoaded, {"hook": offer.hook, "name": offer.name, **where}
    asked = node.stage.device or config.device
    yield events.DeviceResolved, {"stage_id": node.id, "asked": asked, "got": said["device"], "why": said["why"]}
