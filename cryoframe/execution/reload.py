"""A new configuration for a run that is at work: what may change, what differs, and the swap itself (or a refusal)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cryoframe.errors import ConfigError
from cryoframe.execution import attempts, descriptions
from cryoframe.execution.ledger import Ledger
from cryoframe.kernel import config as configuration
from cryoframe.kernel import discovery, sources
from cryoframe.kernel.config import RunConfig
from cryoframe.kernel.plan import Node, make_plan
from cryoframe.kernel.plugins import Plugins
from cryoframe.records import session_events

if TYPE_CHECKING:
    from cryoframe.execution.run import Run

#: What a process has built itself upon; the rest may change while it works.
FIXED = ("name", "folder", "products", "seed")
FIXED_WATCH = ("folders", "patterns", "kind", "observer")
#: What a command line may say besides the file: it stays in force. (The executor is the one there is in any case.)
FLAGS = ("workers", "device")
_NOT_COMPARED = ("path", "digest", "stages", "watch")


def flags(config: RunConfig) -> dict[str, Any]:
    """Return in what a configuration differs from its file: that was said on a command line."""
    if config.path is None:
        return {}
    try:
        written = configuration.load(config.path)
    except ConfigError:  # it has been changed since, and is wrong now; a reload would say so
        return {}
    return {name: getattr(config, name) for name in FLAGS if getattr(config, name) != getattr(written, name)}


def reload(run: Run, config: RunConfig) -> tuple[str, ...]:
    """Put a configuration in force, stages and implementations included; returns what differs.

    Attempts of stages that did not change go on; those of the others are stopped, and begun anew as the stage now is.
    Everything is checked, and every plugin described, before anything changes.

    Raises
    ------
    ConfigError, PluginError
        If it cannot be used; nothing has changed then.
    EnvironmentFault
        If the disk refuses; nothing has changed either.
    """
    old, runner = run.config, run.runner_in_charge()
    runner.catch_up()
    config = dataclasses.replace(config, executor=old.executor, executor_settings=old.executor_settings, **run.flags)
    _refuse_fixed(old, config)
    sources.forget()
    offers = (*discovery.scan(), *discovery.local_offers(config.plugin_files))
    plugins = Plugins(offers, config.blocked)
    plan = make_plan(config, plugins)
    plan.require()
    ledger = Ledger(plan, config, run.state, run.store)
    executor = run.another_executor()
    try:
        runner.executor.retire(_stale(runner.ledger, plan.nodes, plugins))
        for node, outcome in descriptions.described(
            plan.nodes, executor, config=config, plugins=plugins, store=run.store
        ):
            if outcome.error_class:
                raise attempts.refusal(node, outcome)
            ledger.described[node.id] = outcome.result
    finally:
        executor.close()
    swapped = _swapped(runner.ledger, ledger)
    changes = (*_differences(old, config), *(f"[[stage]] {stage_id}" for stage_id in swapped))
    digests = {"old_digest": old.digest, "config_digest": config.digest}
    run.bus.publish_many(
        [
            run.bus.make(session_events.ConfigReloaded, "", **digests, changes=changes),
            *(run.bus.make(session_events.StageSwapped, stage_id=i, old=o, new=n) for i, (o, n) in swapped.items()),
        ]
    )
    run.config, run.plugins = config, plugins
    runner.adopt(ledger, plugins, swapped)
    return changes


def _refuse_fixed(old: RunConfig, new: RunConfig) -> None:
    wrong = [f"[run] {name}" for name in FIXED if getattr(old, name) != getattr(new, name)]
    wrong += [f"[watch] {name}" for name in FIXED_WATCH if getattr(old.watch, name) != getattr(new.watch, name)]
    for kind in ("particles", "volumes"):
        if old.input(kind) != new.input(kind):
            wrong.append(f"[{kind}]")
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)} cannot change while the run is at work", remedy="Stop it, and start it again."
        )


def _stale(old: Ledger, nodes: tuple[Node, ...], plugins: Plugins) -> list[discovery.Offer]:
    """Return the offers whose code is not what it was when it was described, though modules are called the same."""
    then = {node.offer: str(old.described.get(node.id, {}).get("source", "")) for node in old.plan.nodes}
    local = {offer.path for offer in then if offer.path}
    return [
        node.offer
        for node in nodes
        if then.get(node.offer, "") not in ("", plugins.source_digest(node.offer))
        or (node.offer not in then and node.offer.path in local)
    ]


def _swapped(old: Ledger, new: Ledger) -> dict[str, tuple[str, str]]:
    """Return (before, after) of every stage whose products would differ, by stage id."""
    before = {node.id: node for node in old.plan.nodes}
    after = {node.id: node for node in new.plan.nodes}
    found = {}
    for stage_id in sorted(before | after):
        pair = _words(before.get(stage_id), old.described), _words(after.get(stage_id), new.described)
        if pair[0] != pair[1]:
            found[stage_id] = pair
    return found


def _words(node: Node | None, described: Mapping[str, Mapping[str, Any]]) -> str:
    if node is None:
        return "nothing"
    said = described.get(node.id, {})
    wires = ", ".join(f"{name} from {source}" for name, source in node.wires.items())
    params = ", ".join(f"{name} = {value}" for name, value in said.get("params", {}).items())
    source = str(said.get("source", ""))[:12]
    return f"{node.offer.qualified} {node.offer.version} ({source}) with {params or 'no settings'}; {wires}"


def _differences(old: RunConfig, new: RunConfig) -> list[str]:
    names = [field.name for field in dataclasses.fields(RunConfig) if field.name not in _NOT_COMPARED]
    found = [name for name in names if getattr(old, name) != getattr(new, name)]
    watch = [field.name for field in dataclasses.fields(old.watch)]
    return found + [f"[watch] {name}" for name in watch if getattr(old.watch, name) != getattr(new.watch, name)]
