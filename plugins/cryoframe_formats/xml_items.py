"""XML from strangers: parsed by expat without document types or entities, bounded in size and depth.

Nothing is built as a tree: callers get each element's path and text as it closes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from xml.parsers import expat

from cryoframe.errors import Corrupt, Incomplete, Refused

MAX_BYTES: Final = 16 * 2**20
MAX_DEPTH: Final = 200
_CUT: Final = frozenset(
    {
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
    }
)

Closed = Callable[[tuple[str, ...], str, dict[str, str]], None]
"""Called with the names from the root down (prefixes taken off), the element's own text, and its attributes."""


def walk(raw: bytes, path: str, closed: Closed) -> None:
    """Parse `raw` and call `closed` at the end of each element.

    Raises
    ------
    Incomplete
        The text ends before its root element does.
    Corrupt
        Not well-formed, line and column are named; or of an encoding that nobody knows.
    Refused
        Larger than 16 MiB, deeper than 200 elements, or with a document type or entity declaration.
    """
    if len(raw) > MAX_BYTES:
        raise Refused(f"XML of {len(raw)} bytes", path=path, expected=f"at most {MAX_BYTES}")
    names: list[str] = []
    texts: list[list[str]] = []
    attributes: list[dict[str, str]] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def start(name: str, given: dict[str, str]) -> None:
        if len(names) >= MAX_DEPTH:
            where = f"line {parser.CurrentLineNumber}"
            raise Refused("XML nested too deeply", path=path, where=where, expected=f"at most {MAX_DEPTH} elements")
        names.append(_local(name))
        texts.append([])
        attributes.append({_local(key): value for key, value in given.items()})

    def end(_: str) -> None:
        closed(tuple(names), "".join(texts.pop()).strip(), attributes.pop())
        names.pop()

    def data(text: str) -> None:
        if texts:
            texts[-1].append(text)

    def refuse(*_: object) -> None:
        where = f"line {parser.CurrentLineNumber}"
        raise Refused("XML declares a document type or entities", path=path, where=where, expected="plain elements")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        kind = Incomplete if error.code in _CUT else Corrupt
        remedy = "Wait until it is fully written." if kind is Incomplete else "Copy the file again."
        where = f"line {error.lineno}, column {error.offset}"
        raise kind(
            f"XML: {expat.ErrorString(error.code)}", path=path, where=where, expected="well-formed XML", remedy=remedy
        ) from error
    except (LookupError, ValueError) as error:  # the parser asks for a codec by the name that the file declares
        raise Corrupt(f"XML in an encoding of no use ({error})", path=path, expected="UTF-8 or UTF-16") from error


def read_items(raw: bytes, path: str) -> dict[str, str]:
    """Read ``<item name="…" unit="…">text</item>`` elements; the unit goes under ``name.unit``."""
    items: dict[str, str] = {}

    def closed(names: tuple[str, ...], text: str, attributes: dict[str, str]) -> None:
        if names[-1] == "item" and "name" in attributes:
            items[attributes["name"]] = text
            if "unit" in attributes:
                items[attributes["name"] + ".unit"] = attributes["unit"]

    walk(raw, path, closed)
    return items


def _local(name: str) -> str:
    return name.rpartition(":")[2]
