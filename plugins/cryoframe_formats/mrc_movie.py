"""Hook: MRC stacks as movies, one frame read at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe import FrameSource, hookimpl
from cryoframe.errors import Incomplete
from cryoframe.formats import mrc
from cryoframe.formats.mrc_header import MrcHeader, unpack_nibbles
from cryoframe.formats.paths import open_regular


@dataclass(frozen=True)
class MrcMovie:
    """Frames of a checked MRC stack; nothing is kept open or in memory."""

    header: MrcHeader

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.header.shape[0]

    @property
    def shape_px(self) -> tuple[int, int]:
        """Frame shape `(ny, nx)`."""
        return self.header.shape[1:]

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel of the header where it is usable."""
        x, y, _ = self.header.pixel_size_A
        return x if x is not None and y is not None and abs(x - y) <= 1e-3 * x else None

    def read_frame(self, index: int) -> NDArray[np.float32]:
        """Return frame `index` (from 0), `(ny, nx)` float32, row 0 first."""
        header = self.header
        if not 0 <= index < self.n_frames:
            raise IndexError(index)
        with open_regular(header.path) as stream:
            stream.seek(header.data_offset + index * header.section_bytes)
            raw = stream.read(header.section_bytes)
        if len(raw) < header.section_bytes:
            where = f"frame {index + 1}"
            raise Incomplete("the file has become shorter", path=header.path, where=where, remedy="Copy it again.")
        frame: NDArray[Any] = np.frombuffer(raw, np.uint8 if header.packed else header.dtype)
        if header.packed:
            frame = unpack_nibbles(frame.reshape(header.stored_shape[1], -1), header.stored_shape[2])
        result: NDArray[np.float32] = frame.reshape(header.stored_shape[1:]).astype(np.float32)
        return np.ascontiguousarray(result if header.axis_order[0] == 1 else result.T)


@hookimpl
def open_movie(path: Path) -> FrameSource | None:
    """Open a plain MRC stack of two or more frames; None for other files, transforms, and maps in other axis orders."""
    with open_regular(path) as stream:
        head = stream.read(1024)
    if head[208:211] != b"MAP":
        return None
    header = mrc.read_header(path)
    stacked = header.shape[0] > 1 and header.axis_order[2] == 3 and header.dtype.kind != "c"
    return MrcMovie(header) if stacked else None
