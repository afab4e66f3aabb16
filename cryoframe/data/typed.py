"""Plain TOML or JSON values → typed values by annotation; unknown names are errors with the nearest valid one."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from cryoframe.errors import ConfigError, nearest

#: More names than this are not all listed.
MAX_NAMED = 24


def refuse_unknown(given: Collection[str], known: Collection[str], where: str) -> None:
    """Raise ConfigError for the first name of `given` that is not in `known`."""
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{where}: unknown key '{name}'{nearest(name, known)}",
                expected=_meant(name, known),
            )


def _meant(name: str, known: Collection[str]) -> str:
    """Return the names there are; of very many, those most like the one that was given."""
    if not known:
        return "no keys at all"
    if len(known) <= MAX_NAMED:
        return f"one of {', '.join(sorted(known))}"
    near = difflib.get_close_matches(name, known, n=8, cutoff=0.3) or sorted(known)[:8]
    return f"one of {len(known)}, such as {', '.join(near)}"


def convert(value: object, annotation: object, *, where: str, folder: Path | None = None) -> Any:
    """Return `value` as the annotated type, or raise ConfigError; nothing is guessed.

    Parameters
    ----------
    value
        As a TOML parser returns it: bool, int, float, str, list or dict.
    annotation
        bool, int, float, str, Path, Literal, tuple, or one of these ``| None``.
    where
        Named in errors, e.g. ``run.toml: [run] seed``.
    folder
        Relative paths are taken from here; from the current folder when None.
    """
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(value, typing.get_args(annotation), where, folder)
    if origin is Literal:
        if value not in typing.get_args(annotation):
            options = ", ".join(repr(option) for option in typing.get_args(annotation))
            close = nearest(str(value), [str(option) for option in typing.get_args(annotation)])
            raise ConfigError(f"{where} is {value!r}{close}", expected=f"one of {options}")
        return value
    if origin is tuple or annotation is tuple:
        return _convert_tuple(value, typing.get_args(annotation), where, folder)
    return _convert_plain(value, annotation, where, folder)


def _convert_union(value: object, options: tuple[object, ...], where: str, folder: Path | None) -> Any:
    if value is None and types.NoneType in options:
        return None
    problem: ConfigError | None = None
    for option in options:
        if option is not types.NoneType:
            try:
                return convert(value, option, where=where, folder=folder)
            except ConfigError as error:
                problem = problem or error
    raise problem or ConfigError(f"{where} is {value!r}", expected="nothing")


def _convert_tuple(value: object, kinds: tuple[object, ...], where: str, folder: Path | None) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} is {value!r}", expected="a list")
    if not kinds:
        return tuple(value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{where} has {len(value)} values", expected=f"{len(kinds)}")
    return tuple(
        convert(item, kind, where=f"{where}[{index}]", folder=folder)
        for index, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _convert_plain(value: object, annotation: object, where: str, folder: Path | None) -> Any:
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation is Path and isinstance(value, (str, Path)) and str(value):
        return (folder or Path()) / Path(value).expanduser()
    if dict in (annotation, typing.get_origin(annotation)):
        annotation = dict
        if isinstance(value, Mapping):
            return dict(value)
    if isinstance(annotation, type) and type(value) is annotation:
        return value
    name = getattr(annotation, "__name__", str(annotation))
    raise ConfigError(f"{where} is {value!r}", expected=_NAMES.get(name, name))


_NAMES: typing.Final = types.MappingProxyType(
    {
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "Path": "a path",
        "dict": "a table",
    }
)


def build(cls: type, given: Mapping[str, object], *, where: str, folder: Path | None = None) -> Any:
    """Return an instance of a dataclass from plain values; missing ones take their defaults.

    A field whose name ends in ``_`` is written without it (``from_`` ↔ ``from``).

    Raises
    ------
    ConfigError
        For an unknown key (naming the nearest), a wrong type, or a missing value that has no default.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name.rstrip("_"): field for field in dataclasses.fields(cls) if field.init}
    refuse_unknown(given, fields, where)
    values = {
        fields[key].name: convert(value, hints[fields[key].name], where=f"{where} {key}", folder=folder)
        for key, value in given.items()
    }
    for key, field in fields.items():
        if key not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: '{key}' is missing", remedy=f"Add {key} = …")
    return cls(**values)
