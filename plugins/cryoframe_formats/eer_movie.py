"""Hook: EER movies, grouped into at most 40 equal fractions; the reader is ``eer``."""

from __future__ import annotations

from pathlib import Path

from cryoframe import FrameSource, hookimpl
from cryoframe.formats.paths import open_regular
from cryoframe_formats.eer import is_eer, open_eer
from cryoframe_formats.tiff_ifd import is_tiff


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    """Open an EER movie; None for any other file."""
    with open_regular(path) as stream:
        if not is_tiff(stream.read(4)) or not is_eer(stream, str(path)):
            return None
    return open_eer(path)
