"""Checks a plugin against its hookspec: argument names, product types, ``Params``. Calls nothing of the plugin's."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryoframe.data.frames import Convention
from cryoframe.data.params import (
    Parameter,
    describe_params,
    field_docs,
    file_params,
    params_faults,
    resolved_hints,
    type_name,
)
from cryoframe.data.typed import build
from cryoframe.errors import ConfigError, ContractError, InvalidInput, nearest
from cryoframe.kernel.discovery import LOCAL_PREFIX
from cryoframe.kernel.stage import PROJECT, hook_names, stage_specs

#: No parameter of any stage is larger, in whatever unit; infinities and 1e300 are slips.
MAX_NUMBER = 1e18
__all__ = [
    "Parameter",
    "check",
    "describe_params",
    "faults",
    "field_docs",
    "file_params",
    "params_class",
    "params_faults",
    "params_from",
    "plugin_attribute",
]


def check(plugin: object, hook: str) -> None:
    """Check one implementation.

    Raises
    ------
    ContractError
        Listing every fault.
    """
    found = faults(plugin, hook)
    if found:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        if name.startswith(LOCAL_PREFIX):  # the name made for a one-file plugin says nothing to who wrote it
            name = getattr(plugin, "__file__", name)
        raise ContractError(
            f"{name} does not keep the contract of {hook}: " + "; ".join(found),
            remedy=f"`cryoframe schema {hook}` prints the exact signature.",
        )


def faults(plugin: object, hook: str) -> list[str]:
    """Return what is wrong with a plugin's implementation of `hook`, one sentence a fault."""
    if hook not in hook_names():
        return [f"no hook is called '{hook}'{nearest(hook, hook_names())}"]
    function = getattr(plugin, hook, None)
    marker = getattr(function, f"{PROJECT}_impl", None)
    if not callable(function) or marker is None:
        return [f"it has no function '{hook}' marked with @hookimpl{_marked_instead(plugin)}"]
    spec = _spec(hook)
    found = _argument_faults(function, spec)
    if marker.get("wrapper") or marker.get("hookwrapper"):
        return found
    found += _annotation_faults(function, spec, hook)
    if hook in stage_specs():
        found += params_faults(params_class(plugin))
        found += _attribute_faults(plugin)
    return found


def params_class(plugin: object) -> type | None:
    """Return the plugin's ``Params``: its own attribute, or its module's when the plugin is an object."""
    found = plugin_attribute(plugin, "Params", None)
    return found if isinstance(found, type) else None


def plugin_attribute(plugin: object, name: str, default: Any) -> Any:
    """Return an attribute of the plugin object, else of the module it comes from."""
    if hasattr(plugin, name):
        return getattr(plugin, name)
    module = inspect.getmodule(type(plugin)) if not inspect.ismodule(plugin) else None
    return getattr(module, name, default)


def params_from(cls: type, mapping: Mapping[str, object], *, where: str = "params", folder: Path | None = None) -> Any:
    """Return ``Params`` from plain values.

    Raises
    ------
    ConfigError
        For an unknown key, naming the nearest, or a value of the wrong type or beyond all reason.
    """
    for name, value in mapping.items():
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, (int, float)) and not abs(number) <= MAX_NUMBER:
                raise ConfigError(f"{where} {name} is {value}", expected=f"a number, of size {MAX_NUMBER:g} at most")
    try:
        return build(cls, mapping, where=where, folder=folder)
    except InvalidInput as error:  # the class itself refuses the value
        raise ConfigError(f"{where}: {error.what}", expected=error.expected, remedy=error.remedy) from error


def _spec(hook: str) -> Callable[..., object]:
    from cryoframe.kernel import hookspecs

    return typing.cast("Callable[..., object]", getattr(hookspecs, hook))


def _argument_faults(function: Callable[..., object], spec: Callable[..., object]) -> list[str]:
    known = list(inspect.signature(spec).parameters)
    return [
        f"{function.__name__} has no argument '{name}'{nearest(name, known)}, expected any of {', '.join(known)}"
        for name in inspect.signature(function).parameters
        if name not in known
    ]


def _annotation_faults(function: Callable[..., object], spec: Callable[..., object], hook: str) -> list[str]:
    from cryoframe.kernel import hookspecs

    hints, wanted = resolved_hints(function, vars(hookspecs)), typing.get_type_hints(spec)
    found = []
    for name in [*inspect.signature(function).parameters, "return"]:
        if name not in wanted:
            continue
        label = "the result" if name == "return" else f"argument '{name}'"
        if name not in hints:
            found.append(f"{label} of {hook} has no annotation, expected {type_name(wanted[name])}")
        elif name != "params" and hints[name] != wanted[name]:
            found.append(f"{label} of {hook} is {type_name(hints[name])}, expected {type_name(wanted[name])}")
    return found


def _attribute_faults(plugin: object) -> list[str]:
    found = []
    devices = plugin_attribute(plugin, "DEVICES", ("cpu",))
    if not isinstance(devices, tuple) or not devices or not set(devices) <= {"cpu", "cuda"}:
        found.append(f"DEVICES is {devices!r}, expected a tuple of 'cpu' and 'cuda'")
    if not isinstance(plugin_attribute(plugin, "CARRIES_ON", False), bool):
        found.append("CARRIES_ON is neither True nor False")
    if not isinstance(plugin_attribute(plugin, "CONVENTION", Convention()), Convention):
        found.append("CONVENTION is not a cryoframe.Convention")
    return found


def _marked_instead(plugin: object) -> str:
    marked = (
        [name for name, value in vars(plugin).items() if hasattr(value, f"{PROJECT}_impl")]
        if hasattr(plugin, "__dict__")
        else []
    )
    return f"; it marks {', '.join(marked)}" if marked else ""
