"""Finds what is offered for each hook, without importing any of it; the only reader of entry points."""

from __future__ import annotations

import ast
import configparser
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryoframe.data.ids import digest_bytes
from cryoframe.errors import PluginError

SECTION_PREFIX = "cryoframe."
#: Entry points of this hook name hold wrappers (``hookimpl(wrapper=True)``) and surround every implementation.
WRAPPERS = "wrappers"
LOCAL = "local file"
#: What the module names of one-file plugins begin with.
LOCAL_PREFIX = "cryoframe_local_"
_TARGET = re.compile(r"^\s*(\w+(?:\.\w+)*(?:\s*:\s*\w+(?:\.\w+)*)?)\s*(?:\[.*\])?\s*$")
_Row = tuple[str, str, str, str, str]


@dataclass(frozen=True, order=True)
class Offer:
    """One implementation that somebody offers for one hook.

    Parameters
    ----------
    hook, name
        Which hook, under which name.
    target
        ``module`` or ``module:object``.
    distribution, version
        Who brings it; the distribution name is normalised (PEP 503).
    path
        The file of a one-file plugin, else empty.
    wrapper
        Whether it surrounds the others instead of being one of them.
    """

    hook: str
    name: str
    target: str
    distribution: str
    version: str
    path: str = ""
    wrapper: bool = False

    @property
    def qualified(self) -> str:
        """``distribution/name``, which tells two offers of one name apart."""
        return f"{Path(self.path).name if self.path else self.distribution}/{self.name}"


def scan() -> tuple[Offer, ...]:
    """Return every installed offer, sorted; duplicates of a name are kept, the choice is made at selection.

    One pass with ``entrypoints``; a malformed neighbour on ``sys.path``, or ``CRYOFRAME_DISCOVERY=patient``, makes
    it read everything anew with ``importlib.metadata``, which skips what it cannot read.
    """
    if os.environ.get("CRYOFRAME_DISCOVERY") == "patient":
        return _offers(patient_rows())
    try:
        return _offers(list(fast_rows()))
    except (configparser.Error, UnicodeDecodeError):
        return _offers(patient_rows())


def local_offers(files: Iterable[Path]) -> tuple[Offer, ...]:
    """Return what one-file plugins offer: each top-level function marked with ``hookimpl``, named after the file.

    Raises
    ------
    PluginError
        If a file is missing, is not Python, or marks no function.
    """
    return tuple(offer for file in files for offer in _offers_of_file(Path(file)))


def module_name(path: Path) -> str:
    """Return the name under which a one-file plugin is imported; it depends on where the file lies."""
    stem = re.sub(r"\W", "_", path.stem)
    return f"{LOCAL_PREFIX}{stem}_{digest_bytes(str(path.resolve()).encode())[:8]}"


def normalise(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def fast_rows() -> Iterator[_Row]:
    """Read with ``entrypoints``; raises what a malformed neighbour makes it raise."""
    import entrypoints

    for parser, distribution in entrypoints.iter_files_distros():
        for section in parser.sections():
            if section.startswith(SECTION_PREFIX):
                for name, target in parser.items(section, raw=True):
                    yield section, name, target, distribution.name, distribution.version or ""


def patient_rows() -> list[_Row]:
    """Read with ``importlib.metadata``, distribution by distribution."""
    import importlib.metadata

    rows: list[_Row] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            name, version, points = distribution.metadata["Name"], distribution.version, distribution.entry_points
            found = [(point.group, point.name, point.value, name, version) for point in points]
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            continue  # a neighbour too broken to state its name or entry points offers nothing
        if name and normalise(name) not in seen:
            seen.add(normalise(name))
            rows += [row for row in found if row[0].startswith(SECTION_PREFIX)]
    return rows


def _offers(rows: Iterable[_Row]) -> tuple[Offer, ...]:
    found = set()
    for section, name, target, distribution, version in rows:
        match = _TARGET.match(target)
        hook = section.removeprefix(SECTION_PREFIX)
        text = re.sub(r"\s", "", match.group(1)) if match else target.strip()
        found.add(Offer(hook, name, text, normalise(distribution), version, wrapper=hook == WRAPPERS))
    return tuple(sorted(found))


def _offers_of_file(path: Path) -> tuple[Offer, ...]:
    try:
        source = path.read_bytes()
        tree = ast.parse(source, filename=str(path))
    except OSError as error:
        raise PluginError(
            f"plugin file {path} cannot be read ({error.strerror})",
            remedy="Check [plugins] files in the configuration.",
        ) from error
    except (SyntaxError, ValueError) as error:
        raise PluginError(f"plugin file {path} is not Python: {error}") from error
    version = digest_bytes(source)[:12]
    marked = [(node.name, mark) for node in tree.body if isinstance(node, ast.FunctionDef) and (mark := _mark(node))]
    if not marked:
        raise PluginError(
            f"plugin file {path} offers nothing",
            expected="a top-level function marked with @hookimpl",
            remedy="`from cryoframe import hookimpl`, and name the function as the hook.",
        )
    return tuple(
        Offer(hook, path.stem, module_name(path), LOCAL, version, str(path.resolve()), mark == "wrapper")
        for hook, mark in marked
    )


def _mark(function: ast.FunctionDef) -> str:
    """Return ``"plain"`` or ``"wrapper"`` where the function carries ``hookimpl``, else an empty string."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        marker = call.func if call else decorator
        name = marker.attr if isinstance(marker, ast.Attribute) else getattr(marker, "id", "")
        if name == "hookimpl":
            wraps = call is not None and any(
                keyword.arg == "wrapper" and getattr(keyword.value, "value", False) for keyword in call.keywords
            )
            return "wrapper" if wraps else "plain"
    return ""
