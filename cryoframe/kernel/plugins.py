"""Chooses, loads and calls plugins: one implementation by name, inside everybody's wrappers. Nobody is privileged."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pluggy

from cryoframe.data.frames import Convention
from cryoframe.data.ids import digest_bytes
from cryoframe.errors import ContractError, CryoframeError, PluginError, nearest
from cryoframe.kernel import contract, sources
from cryoframe.kernel.discovery import WRAPPERS, Offer
from cryoframe.kernel.stage import PROJECT, hook_names, stage_specs


@dataclass(frozen=True)
class Plugin:
    """A loaded, checked implementation of one hook."""

    offer: Offer
    module: object = field(repr=False)
    params_class: type | None
    devices: tuple[str, ...]
    convention: Convention
    source_digest: str


class Plugins:
    """The offers at hand, and what has been loaded of them.

    Parameters
    ----------
    offers
        From ``discovery.scan()`` and ``discovery.local_offers(files)``.
    blocked
        ``name``, ``distribution`` or ``distribution/name`` that may not be used.
    """

    def __init__(self, offers: Iterable[Offer], blocked: Collection[str] = ()) -> None:
        everything = tuple(offers)
        self.blocked = tuple(offer for offer in everything if _is_blocked(offer, blocked))
        self.offers = tuple(offer for offer in everything if offer not in self.blocked)
        #: Offers that were tried for a service and could not be used, with the reason.
        self.refused: dict[Offer, str] = {}
        self._objects: dict[tuple[str, str], object] = {}
        self._loaded: dict[Offer, Plugin] = {}
        self._manager: pluggy.PluginManager | None = None

    def offered(self, hook: str) -> tuple[Offer, ...]:
        """Return the implementations offered for a hook, blocked ones and wrappers left out."""
        return tuple(offer for offer in self.offers if offer.hook == hook and not offer.wrapper)

    def wrappers(self, hook: str) -> tuple[Offer, ...]:
        """Return the wrappers that may surround a hook: local ones of that hook, installed ones of any."""
        return tuple(offer for offer in self.offers if offer.wrapper and offer.hook in (hook, WRAPPERS))

    def select(self, hook: str, name: str = "") -> Offer:
        """Return the offer of that name; without a name, the only one.

        Parameters
        ----------
        hook
            A hook of the page.
        name
            ``name`` or ``distribution/name``.

        Raises
        ------
        PluginError
            If the hook is unknown, nothing or more than one thing is offered under the name, or it is blocked.
        """
        if hook not in hook_names():
            raise PluginError(f"no hook is called '{hook}'{nearest(hook, hook_names())}")
        offers = self.offered(hook)
        found = [offer for offer in offers if name in ("", offer.name, offer.qualified)]
        if len(found) == 1:
            return found[0]
        names = sorted({offer.name for offer in offers})
        if len(found) > 1:
            spelt = ", ".join(f"{offer.qualified} {offer.version}".strip() for offer in found)
            what = (
                f"{len(found)} distributions offer '{name}' for {hook}"
                if name
                else f"{hook} has {len(found)} implementations"
            )
            raise PluginError(f"{what}: {spelt}", remedy=f'Choose one, e.g. use = "{found[0].qualified}".')
        if any(offer.hook == hook and name in (offer.name, offer.qualified) for offer in self.blocked):
            raise PluginError(f"'{name}' for {hook} is blocked", remedy="Remove it from [plugins] blocked.")
        raise PluginError(
            f"no implementation '{name}' for {hook}{nearest(name, names)}",
            expected=f"one of {', '.join(names)}" if names else "some distribution or file to offer one; none does",
            remedy="`cryoframe plugins` lists what is installed.",
        )

    def load(self, offer: Offer) -> Plugin:
        """Import, check and register one implementation and the wrappers that surround it.

        Raises
        ------
        PluginError
            If it cannot be imported.
        ContractError
            If it does not keep the hookspec's contract.
        """
        if offer not in self._loaded:
            if offer.hook not in hook_names():
                raise PluginError(
                    f"{offer.qualified} offers unknown hook '{offer.hook}'{nearest(offer.hook, hook_names())}"
                )
            plugin = _plugin(offer, self._object(offer), self.source_digest(offer))
            contract.check(plugin.module, offer.hook)
            self._register(offer, plugin.module)
            for wrapper in self.wrappers(offer.hook):
                self._register(wrapper, self._object(wrapper))
            self._loaded[offer] = plugin
        return self._loaded[offer]

    def call(self, plugin: Plugin, hook: str, arguments: Mapping[str, object]) -> object:
        """Call exactly this implementation, surrounded by the wrappers; optional arguments left out are None."""
        manager = self._pluggy()
        rivals = [
            implementation.plugin
            for implementation in getattr(manager.hook, hook).get_hookimpls()
            if implementation.plugin is not plugin.module and not (implementation.wrapper or implementation.hookwrapper)
        ]
        caller = manager.subset_hook_caller(hook, remove_plugins=rivals)
        names = caller.spec.argnames if caller.spec else ()
        return caller(**(dict.fromkeys(names) | dict(arguments)))

    def load_services(self, hook: str) -> tuple[Plugin, ...]:
        """Load every implementation of a service; one that cannot be used is noted in `refused` and left out."""
        found = []
        for offer in self.offered(hook):
            try:
                found.append(self.load(offer))
            except CryoframeError as error:
                self.refused[offer] = str(error)
        return tuple(found)

    def ask(self, hook: str, arguments: Mapping[str, object]) -> object:
        """Ask each implementation of a service in turn; the first answer that is not None wins, else None."""
        for plugin in self.load_services(hook):
            answer = self.call(plugin, hook, arguments)
            if answer is not None:
                return answer
        return None

    def source_digest(self, offer: Offer) -> str:
        """Return the key of all code that makes the result: plugin, wrappers, numerics; imports nothing."""
        parts = [sources.source_digest(offer), sources.numerics_digest()]
        parts += [sources.source_digest(wrapper) for wrapper in self.wrappers(offer.hook)]
        return digest_bytes(*(part.encode() for part in parts))

    def _pluggy(self) -> pluggy.PluginManager:
        if self._manager is None:
            self._manager = pluggy.PluginManager(PROJECT)
            self._manager.add_hookspecs(importlib.import_module("cryoframe.kernel.hookspecs"))
        return self._manager

    def _object(self, offer: Offer) -> object:
        key = (offer.target, offer.path)
        if key not in self._objects:
            self._objects[key] = _import(offer)
        return self._objects[key]

    def _register(self, offer: Offer, module: object) -> None:
        manager = self._pluggy()
        if manager.is_registered(module):
            return
        try:
            manager.register(module, name=f"{offer.qualified}:{offer.target}")
            manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if manager.is_registered(module):
                manager.unregister(module)
            known = hook_names()
            strange = [
                name
                for name in vars(module)
                if hasattr(getattr(module, name, None), f"{PROJECT}_impl") and name not in known
            ]
            hint = f": '{strange[0]}' is no hook{nearest(strange[0], known)}" if strange else f": {error}"
            raise ContractError(f"{offer.qualified} is refused{hint}") from error


def _plugin(offer: Offer, module: object, source_digest: str) -> Plugin:
    return Plugin(
        offer,
        module,
        contract.params_class(module) if offer.hook in stage_specs() else None,
        contract.plugin_attribute(module, "DEVICES", ("cpu",)),
        contract.plugin_attribute(module, "CONVENTION", Convention()),
        source_digest,
    )


def _is_blocked(offer: Offer, blocked: Collection[str]) -> bool:
    return not {offer.name, offer.distribution, offer.qualified}.isdisjoint(blocked)


def _import(offer: Offer) -> object:
    module_name, _, attribute = offer.target.partition(":")
    try:
        found: object = (
            _import_file(Path(offer.path), module_name) if offer.path else importlib.import_module(module_name)
        )
        for name in attribute.split(".") if attribute else ():
            found = getattr(found, name)
    except CryoframeError:
        raise
    except Exception as error:  # whatever a plugin does while it is imported
        raise PluginError(
            f"{offer.qualified} for {offer.hook} cannot be imported from '{offer.path or offer.target}':"
            f" {type(error).__name__}: {error}",
            remedy="Install what it needs, or block it with [plugins] blocked.",
        ) from error
    return found


def _import_file(path: Path, name: str) -> ModuleType:
    """Import a one-file plugin; it is put in ``sys.modules`` first, else ``dataclass`` cannot resolve annotations."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin file {path} is not a Python file", expected="a name ending in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
