"""How far the making of many things is: one bar on a terminal, a line each elsewhere. Makes nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from cryoframe.view.tables import escape


@contextmanager
def making_progress(title: str, total: int, *, stream: TextIO | None = None) -> Iterator[Callable[[int, str], None]]:
    """Show how many of `total` are done while the block lasts.

    Parameters
    ----------
    title
        Before the bar.
    total
        How many there will be.
    stream
        Standard error when None. On a terminal there is a bar; elsewhere a line each.

    Yields
    ------
    Call it with how many are done and a word on the last one.
    """
    target = stream or sys.stderr
    if not target.isatty():

        def say(done: int, note: str) -> None:
            target.write(f"{title} {done}/{total} {note}\n")
            target.flush()

        yield say
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    left, note_column = TimeRemainingColumn(), TextColumn("{task.fields[note]}")
    with Progress(*columns, left, note_column, console=Console(file=target)) as progress:
        bar = progress.add_task(escape(title), total=total, note="")

        def move(done: int, note: str) -> None:
            progress.update(bar, completed=done, note=escape(note))

        yield move
