"""What the kernel knows of a stage: read from its hookspec's annotations, nothing declared twice."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, TypeVar

import pluggy

Over = Literal["exposure", "movie", "micrograph", "set"]
#: per_half: the stage works on one half at a time or keeps them apart inside; half_blind: it reads no half-set data
#: that reaches a map; joint: it mixes halves, and what it makes may not become a reference finer than `joint_below_A`.
Halves = Literal["per_half", "half_blind", "joint"]

PROJECT = "cryoframe"
hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)
_F = TypeVar("_F", bound=Callable[..., object])
_ATTRIBUTE = "cryoframe_stage"


@dataclass(frozen=True)
class Input:
    """One product a stage consumes."""

    name: str
    kind: type
    optional: bool = False
    many: bool = False


@dataclass(frozen=True)
class StageSpec:
    """One stage hook: what it eats, what it makes, and over which unit of work it runs."""

    hook: str
    over: Over
    halves: Halves
    optional: bool
    consumes: tuple[Input, ...]
    produces: type
    doc: str
    signature: inspect.Signature = field(compare=False, repr=False)


def stage(*, over: Over, halves: Halves = "half_blind", optional: bool = False) -> Callable[[_F], _F]:
    """Mark a function of ``hookspecs`` as the specification of a stage.

    Parameters
    ----------
    over
        The unit of work: one call an exposure, a movie, a micrograph, or the whole set.
    halves
        How the stage treats half-sets.
    optional
        Whether a plan may leave the stage out between two that would fit together without it.
    """

    def mark(function: _F) -> _F:
        setattr(function, _ATTRIBUTE, (over, halves, optional))
        return _hookspec(firstresult=True)(function)

    return mark


def service(*, first: bool = True) -> Callable[[_F], _F]:
    """Mark a function of ``hookspecs`` as a service; `first` = the first answer that is not None wins."""

    def mark(function: _F) -> _F:
        return _hookspec(firstresult=first)(function)

    return mark


@cache
def stage_specs() -> types.MappingProxyType[str, StageSpec]:
    """Return all stages in beam order."""
    from cryoframe.kernel import hookspecs

    found = {
        name: _read(name, function)
        for name, function in vars(hookspecs).items()
        if inspect.isfunction(function) and hasattr(function, _ATTRIBUTE)
    }
    return types.MappingProxyType(found)


@cache
def service_names() -> tuple[str, ...]:
    """Return the names of all service hooks in page order."""
    from cryoframe.kernel import hookspecs

    marker = f"{PROJECT}_spec"
    return tuple(
        name
        for name, function in vars(hookspecs).items()
        if inspect.isfunction(function) and hasattr(function, marker) and not hasattr(function, _ATTRIBUTE)
    )


def hook_names() -> tuple[str, ...]:
    """Return every hook: stages in beam order, then services."""
    return (*stage_specs(), *service_names())


def _read(name: str, function: Callable[..., object]) -> StageSpec:
    over, halves, optional = getattr(function, _ATTRIBUTE)
    hints = typing.get_type_hints(function)
    consumes = tuple(
        _input(argument, hint) for argument, hint in hints.items() if argument not in ("params", "ctx", "return")
    )
    return StageSpec(
        name,
        over,
        halves,
        optional,
        consumes,
        hints["return"],
        inspect.getdoc(function) or "",
        inspect.signature(function),
    )


def _input(name: str, hint: object) -> Input:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kind = next(option for option in typing.get_args(hint) if option is not types.NoneType)
        return Input(name, kind, optional=True)
    if typing.get_origin(hint) is typing.get_origin(Sequence[int]):
        return Input(name, typing.get_args(hint)[0], many=True)
    return Input(name, typing.cast(type, hint))
