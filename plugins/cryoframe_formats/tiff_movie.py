"""Hook: TIFF and BigTIFF movies; the reader is ``tiff``."""

from __future__ import annotations

from pathlib import Path

from cryoframe import FrameSource, hookimpl
from cryoframe.formats.paths import open_regular
from cryoframe_formats.eer import is_eer
from cryoframe_formats.tiff import open_tiff
from cryoframe_formats.tiff_ifd import is_tiff


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    """Open a TIFF movie; None for other files and for EER events, which have a reader of their own."""
    with open_regular(path) as stream:
        if not is_tiff(stream.read(4)) or is_eer(stream, str(path)):
            return None
    return open_tiff(path)
