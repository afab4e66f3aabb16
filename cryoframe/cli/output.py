"""What the command line writes: lines, JSON, errors on one screen. Tables and progress are in ``cryoframe.view``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from cryoframe.errors import CryoframeError

MAX_ERROR_CHARACTERS = 3000


def say(text: str = "") -> None:
    """Write a line on standard output."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """Write a line on standard error."""
    sys.stderr.write(text + "\n")


def emit(value: object) -> None:
    """Write a value as JSON on standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def json_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="write JSON on standard output")


def table(options: argparse.Namespace, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows as JSON records with ``--json``, else as a table."""
    if options.json:
        emit([dict(zip(columns, row, strict=True)) for row in rows])
        return
    from cryoframe.view.tables import show

    show(columns, rows)


def fail(options: argparse.Namespace, error: CryoframeError) -> None:
    """Say why a command failed: on standard error for people, and with ``--json`` on standard output for programs."""
    complain(describe(options.verb, error))
    if getattr(options, "json", False):
        facts = {"class": type(error).__name__, "kind": error.kind, "what": error.what}
        more = {name: getattr(error, name, "") for name in ("path", "where", "expected", "remedy")}
        emit({"error": facts | {name: value for name, value in more.items() if value}})


def describe(verb: str, error: CryoframeError) -> str:
    """Return an error as people read it: what was wrong, what was expected, what to do."""
    place = ", ".join(part for part in (getattr(error, "path", ""), getattr(error, "where", "")) if part)
    lines = [f"cryoframe {verb}: " + (f"{place}: " if place else "") + error.what]
    if error.expected:
        lines.append(f"  expected: {error.expected}")
    if error.remedy:
        lines.append(f"  remedy:   {error.remedy}")
    text = "\n".join(lines)
    return text if len(text) <= MAX_ERROR_CHARACTERS else text[:MAX_ERROR_CHARACTERS] + " …"
