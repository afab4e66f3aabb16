"""A file that ends early is an index error."""

from __future__ import annotations

from pathlib import Path

from cryoframe import FrameSource, hookimpl
from cryoframe.errors import FileError
from cryoframe_formats import mrc_movie as reference

CAUGHT_BY = "truncated_file_refused"


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    try:
        return reference.open_movie(path)
    except FileError:
        raise IndexError("list index out of range") from None
