"""Writes an index beside the movie it reads."""

from __future__ import annotations

from pathlib import Path

from cryoframe import FrameSource, hookimpl
from cryoframe_formats import mrc_movie as reference

CAUGHT_BY = "file_untouched"


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    source = reference.open_movie(path)
    if source is not None:
        path.with_suffix(".index").write_text("frames")
    return source
