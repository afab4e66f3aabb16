"""Tables for people: drawn on a terminal, aligned plain text elsewhere; rich is imported when one is drawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO


def show(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", stream: TextIO | None = None
) -> None:
    """Write a table.

    Parameters
    ----------
    columns
        Headings.
    rows
        One value a column; None is shown as nothing.
    title
        Written above the table.
    stream
        Standard output when None; rich draws the table when it is a terminal.
    """
    target = stream or sys.stdout
    if not target.isatty():
        target.write(plain(columns, rows, title=title))
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*(escape(cell(value)) for value in row))
    Console(file=target).print(drawn)


def plain(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> str:
    """Return a table as aligned plain text, each line ended; columns without values for any row are kept."""
    text = [list(columns), *([cell(value) for value in row] for row in rows)]
    widths = [max(len(line[place]) for line in text) for place in range(len(columns))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip() for line in text]
    return "".join(f"{line}\n" for line in ([title] if title else []) + lines)


def cell(value: object) -> str:
    """Return one value as it is shown: numbers to four digits, lists with commas, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return str(value).replace("\n", " ")


def escape(text: str) -> str:
    """Return text with rich's markup made harmless: names of files are shown as they are."""
    return text.replace("[", r"\[")
