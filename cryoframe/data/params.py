"""A plugin's ``Params``: fields with type, default, unit and doc, checked and described; no plugin is known here."""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import tokenize
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from cryoframe.data.units import unit_of

_PLAIN = (bool, int, float, str, Path)
_BRACKETS = re.compile(r"\[([^\]]+)\]")
#: Words that state a number without a unit.
_WORDS = re.compile(r"\b(standard deviations?|fraction|ratio|factor|times|probability|correlation|power|score)\b", re.I)
_ENTRY = re.compile(r"^(?:\s*)(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field of a plugin's ``Params``, as shown to people."""

    name: str
    type: str
    default: object
    unit: str
    doc: str


def file_params(params: object) -> dict[str, Path]:
    """Return the parameters that name files; their content, not their name, enters a result's key."""
    return {
        field.name: value
        for field in dataclasses.fields(params)  # type: ignore[arg-type]
        if isinstance(value := getattr(params, field.name), Path)
    }


def describe_params(cls: type) -> tuple[Parameter, ...]:
    """Return every field with its type, default, unit and doc."""
    docs, hints = field_docs(cls), resolved_hints(cls)
    return tuple(
        Parameter(
            field.name,
            type_name(hints.get(field.name, field.type)),
            _default(field),
            _unit(field, docs.get(field.name, "")),
            docs.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
    )


def params_faults(cls: type | None) -> list[str]:
    """Return what is wrong with a ``Params`` class."""
    if cls is None:
        return ["it has no Params class (an empty frozen dataclass will do)"]
    if not dataclasses.is_dataclass(cls) or not getattr(cls, "__dataclass_params__").frozen:  # noqa: B009
        return ["Params is not a frozen dataclass; write @dataclass(frozen=True)"]
    docs, hints, found = field_docs(cls), resolved_hints(cls), []
    for field in dataclasses.fields(cls):
        doc, hint = docs.get(field.name, ""), hints.get(field.name)
        if field.default is field.default_factory is dataclasses.MISSING:
            found.append(f"Params.{field.name} has no default")
        if not doc:
            found.append(f"Params.{field.name} has no doc; put a comment on its line")
        if not _allowed(hint):
            found.append(
                f"Params.{field.name} is {type_name(hint)}, expected bool, int, float, str, Path, Literal or tuple"
            )
        elif float in _leaves(hint) and not _unit(field, doc):
            found.append(
                f"Params.{field.name} states no unit; end the name in _A, _px, _deg, _s, _frac …,"
                " or state the unit in its doc, in [brackets]"
            )
    return found


def field_docs(cls: type) -> dict[str, str]:
    """Return the doc of each field: ``metadata={"doc": …}``, a comment on or above its line, or numpydoc Parameters."""
    docs: dict[str, str] = {}
    for each in reversed([each for each in cls.__mro__ if dataclasses.is_dataclass(each)]):
        docs |= _docstring_parameters(inspect.cleandoc(each.__doc__ or ""))
        try:
            docs |= _comments(inspect.getsource(each))
        except (OSError, TypeError, tokenize.TokenError):
            docs |= {}
    stated = {field.name: str(field.metadata["doc"]) for field in dataclasses.fields(cls) if "doc" in field.metadata}
    return docs | stated


def _comments(source: str) -> dict[str, str]:
    """Comments on a field's line, else the ``#:`` block above it."""
    docs: dict[str, str] = {}
    above: list[str] = []
    name, depth = "", 0
    for token in tokenize.generate_tokens(io.StringIO(inspect.cleandoc(source)).readline):
        if token.type == tokenize.NAME and not token.line[: token.start[1]].strip() and depth == 0:
            name = token.string
        elif token.type == tokenize.OP:
            depth += token.string in "([{"
            depth -= token.string in ")]}"
        elif token.type == tokenize.COMMENT:
            text = token.string.lstrip("#: ").strip()
            if token.line[: token.start[1]].strip() and name:
                docs[name] = text
            else:
                above.append(text)
        elif token.type == tokenize.NEWLINE:
            if name and above:
                docs.setdefault(name, " ".join(above))
            above, name = [], ""
    return docs


def _docstring_parameters(text: str) -> dict[str, str]:
    docs: dict[str, str] = {}
    names: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() in ("Parameters", "Attributes"):
            next(lines, "")
            break
    for line in lines:
        if line and not line[0].isspace():
            match = _ENTRY.match(line)
            names = [name.strip() for name in match.group(1).split(",")] if match else []
        elif line.strip():
            docs |= {name: f"{docs.get(name, '')} {line.strip()}".strip() for name in names}
    return docs


def resolved_hints(thing: Any, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Resolve annotations; names imported for type checking only are looked up in `names`."""
    try:
        return typing.get_type_hints(thing, localns=dict(names or {}))
    except (NameError, TypeError, AttributeError):
        return dict(getattr(thing, "__annotations__", {}))


def type_name(hint: object) -> str:
    """Return an annotation as people write it."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("pathlib.", "")


def _leaves(hint: object) -> Iterator[object]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal or not arguments:
        yield hint
    for argument in arguments if typing.get_origin(hint) is not Literal else ():
        yield from _leaves(argument)


def _allowed(hint: object) -> bool:
    return all(
        leaf in (*_PLAIN, types.NoneType, Ellipsis) or typing.get_origin(leaf) is Literal for leaf in _leaves(hint)
    ) and typing.get_origin(hint) in (None, tuple, Literal, types.UnionType, typing.Union)


def _unit(field: dataclasses.Field[Any], doc: str) -> str:
    said = _BRACKETS.search(doc) or _WORDS.search(doc)
    return str(field.metadata.get("unit", "")) or unit_of(field.name) or (said.group(1) if said else "")


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None
