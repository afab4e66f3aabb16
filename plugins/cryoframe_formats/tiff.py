"""TIFF and BigTIFF movies as a source of frames; the chain of pages is checked in ``tiff_ifd``.

Rows are turned over: a TIFF file's first row is the top of the picture, the first row of an MRC file the bottom. IMOD,
SerialEM, MotionCor2 and RELION all turn TIFF images over when they read or write them, and so the hand of the map is
right only if we do so too (asserted against RELION in the tests).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Incomplete
from cryoframe.formats.paths import open_regular
from cryoframe_formats.tiff_ifd import UNIT, X_RESOLUTION, Page, read_pages
from cryoframe_formats.tiff_strips import check_decodable, read_page

_PER_CM_IN_A = 1e8
_PER_INCH_IN_A = 2.54e8


@dataclass(frozen=True)
class TiffMovie:
    """Frames of a checked TIFF movie; nothing is kept open or in memory."""

    path: str
    pages: tuple[Page, ...]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.pages)

    @property
    def shape_px(self) -> tuple[int, int]:
        """Frame shape `(ny, nx)`."""
        return self.pages[0].shape_px

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Stored pixel type."""
        return self.pages[0].dtype

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel from the resolution tag where it makes sense for a microscope, else None."""
        page = self.pages[0]
        value = page.tags.get(X_RESOLUTION, ())
        scale = {2: _PER_INCH_IN_A, 3: _PER_CM_IN_A}.get(page.integer(UNIT, 2))
        if isinstance(value, bytes) or not value or scale is None or not value[0] > 0:
            return None
        size = scale / value[0]
        return size if math.isfinite(size) and 0.05 < size < 100.0 else None

    def read_stored(self, index: int) -> NDArray[Any]:
        """Return frame `index` in the stored type, turned over: `(ny, nx)`."""
        with open_regular(self.path) as stream:
            return read_page(stream, self.pages[index], self.path)[::-1]

    def read_frame(self, index: int) -> NDArray[np.float32]:
        """Return frame `index` (from 0), `(ny, nx)` float32."""
        return np.ascontiguousarray(self.read_stored(index), np.float32)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self.read_frame(index) for index in range(self.n_frames))


def open_tiff(path: str | os.PathLike[str], *, expected_frames: int | None = None) -> TiffMovie:
    """Open a movie after walking its whole chain of pages.

    Parameters
    ----------
    path
        The file.
    expected_frames
        Number of frames the movie must have. A TIFF that is being appended to is valid at every moment, so only
        this number, from the mdoc or the session, tells that the end is still missing.

    Raises
    ------
    Incomplete
        A page or strip lies beyond the end, or there are fewer frames than expected.
    Corrupt, Unsupported, Refused
        As in ``tiff_ifd.read_pages`` and ``tiff_strips.check_decodable``.
    """
    name = os.fspath(path)
    with open_regular(path) as stream:
        pages = read_pages(stream, name)
    for page in pages:
        check_decodable(page, name)
    if expected_frames is not None and len(pages) < expected_frames:
        raise Incomplete(
            f"{len(pages)} frames", path=name, where=f"frame {len(pages) + 1}", expected=f"{expected_frames} frames",
            remedy="Wait until the last frame is written.",
        )  # fmt: skip
    return TiffMovie(name, pages)
