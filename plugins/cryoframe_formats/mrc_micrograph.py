"""Hook: MRC files of one image as micrographs, with what EPU's extended header says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoframe import MicrographSource, hookimpl
from cryoframe.formats import mrc
from cryoframe.formats.mrc_header import MrcHeader
from cryoframe.formats.paths import open_regular


@dataclass(frozen=True)
class MrcMicrograph:
    """A checked MRC image; pixels are read on demand."""

    header: MrcHeader

    @property
    def shape_px(self) -> tuple[int, int]:
        """Image shape `(ny, nx)`."""
        return self.header.shape[1:]

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel of the header, or of the extended header where that of the header is unusable."""
        x, y, _ = self.header.pixel_size_A
        if x is not None and y is not None and abs(x - y) <= 1e-3 * x:
            return x
        return self.header.fei[0].pixel_size_x_A if self.header.fei else None

    @property
    def voltage_kV(self) -> float | None:
        """Acceleration voltage of the extended header."""
        return self.header.fei[0].voltage_kV if self.header.fei else None

    @property
    def dose_e_A2(self) -> float | None:
        """Total dose of the extended header."""
        return self.header.fei[0].dose_e_A2 if self.header.fei else None

    def read(self) -> NDArray[np.float32]:
        """Return the image, `(ny, nx)` float32."""
        image: NDArray[np.float32] = mrc.read_image(self.header.path)[0]
        return image


@hookimpl
def open_micrograph(path: Path) -> MicrographSource | None:
    """Open an MRC file of one image, plain or compressed; None for any other file."""
    with open_regular(path) as stream:
        head = stream.read(1024)
    if head[208:211] != b"MAP" and head[:2] != b"\x1f\x8b" and head[:3] != b"BZh":
        return None
    header = mrc.read_header(path)
    return MrcMicrograph(header) if header.shape[0] == 1 else None
