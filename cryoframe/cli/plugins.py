"""``cryoframe plugins``: what is installed for each hook, and one implementation's parameters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import emit, json_flag, say, table

if TYPE_CHECKING:
    from cryoframe.kernel.discovery import Offer
    from cryoframe.kernel.plugins import Plugins


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("hook", nargs="?", metavar="HOOK", help="this hook only")
    parser.add_argument("name", nargs="?", metavar="NAME", help="load this implementation and show its parameters")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="also one-file plugins and blocks of a configuration"
    )
    parser.add_argument("--load", action="store_true", help="import and check each, and say what is refused")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """List the offers, or describe one."""
    plugins = collect(options.config)
    if options.name:
        return _describe(options, plugins)
    if options.hook:
        _known(options.hook)
    offers = [offer for offer in (*plugins.offers, *plugins.blocked) if options.hook in (None, offer.hook)]
    rows = [
        [
            offer.hook,
            offer.name,
            offer.distribution,
            offer.version,
            offer.target if not offer.path else offer.path,
            _state(offer, plugins, options.load),
        ]
        for offer in _in_beam_order(offers)
    ]
    table(options, ["hook", "name", "distribution", "version", "target", "state"], rows)
    return int(any(str(row[-1]).startswith("refused") for row in rows))


def collect(config: Path | None = None) -> Plugins:
    """Return everything installed, with the one-file plugins and blocks of a configuration."""
    from cryoframe.kernel.config import load
    from cryoframe.kernel.discovery import local_offers, scan
    from cryoframe.kernel.plugins import Plugins

    if config is None:
        return Plugins(scan())
    made = load(config)
    return Plugins((*scan(), *local_offers(made.plugin_files)), made.blocked)


def _known(hook: str) -> None:
    from cryoframe.errors import PluginError, nearest
    from cryoframe.kernel.stage import hook_names

    if hook not in hook_names():
        raise PluginError(f"no hook is called '{hook}'{nearest(hook, hook_names())}", expected=", ".join(hook_names()))


def _in_beam_order(offers: list[Offer]) -> list[Offer]:
    from cryoframe.kernel.stage import hook_names

    place = {name: index for index, name in enumerate(hook_names())}
    return sorted(offers, key=lambda offer: (place.get(offer.hook, len(place)), offer.name, offer.distribution))


def _state(offer: Offer, plugins: Plugins, load: bool) -> str:
    from cryoframe.errors import CryoframeError
    from cryoframe.kernel.discovery import WRAPPERS
    from cryoframe.kernel.stage import hook_names

    if offer in plugins.blocked:
        return "blocked"
    if offer.hook not in (*hook_names(), WRAPPERS):
        return "refused: no such hook"
    if load and not offer.wrapper:
        try:
            plugins.load(offer)
        except CryoframeError as error:
            return f"refused: {error}"
    if offer.wrapper:
        return "wrapper"
    clash = [other for other in plugins.offered(offer.hook) if other.name == offer.name and other != offer]
    return f"name shared; write {offer.qualified}" if clash else "ok"


def _describe(options: argparse.Namespace, plugins: Plugins) -> int:
    from cryoframe.kernel.contract import describe_params

    plugin = plugins.load(plugins.select(options.hook, options.name))
    params = describe_params(plugin.params_class) if plugin.params_class else ()
    columns = ["parameter", "type", "default", "unit", "doc"]
    rows = [[item.name, item.type, item.default, item.unit, item.doc] for item in params]
    if options.json:
        facts = {"hook": options.hook, "use": plugin.offer.qualified, "version": plugin.offer.version}
        described = [dict(zip(columns, row, strict=True)) for row in rows]
        emit({**facts, "devices": plugin.devices, "params": described})
        return 0
    say(f"{plugin.offer.qualified} {plugin.offer.version} for {options.hook}, on {', '.join(plugin.devices)}")
    table(options, columns, rows)
    return 0
