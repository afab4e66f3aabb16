"""Hook: MRC stacks of raw frames, one frame in memory; the header, and with it a whole file, comes last.

uint8 is mode 0 with IMOD's flag for unsigned bytes, as SerialEM writes it. Programs that do not know the flag read
bytes above 127 as negative; counts below are the same to all.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cryoframe import Recording, hookimpl
from cryoframe.formats.mrc_header import HEADER_BYTES, build_header
from cryoframe_formats.raw_frames import check_recording, stored_frames
from cryoframe_formats.sink import Sink
from cryoframe_formats.tiff_write import describe

_MODES: Final = {"uint8": 0, "int8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}
_IMOD_STAMP: Final = 1146047817
_LABEL_BYTES, _MAX_LABELS = 80, 10
_ROWS_AT_ONCE: Final = 32
_IMOD_OFFSET, _N_LABELS_OFFSET, _LABELS_OFFSET = 152, 220, 224


@hookimpl
def write_movie(path: Path, recording: Recording) -> bool | None:
    """Write an MRC stack; None for recordings of another kind."""
    if recording.kind != "mrc":
        return None
    write_mrc_movie(path, recording)
    return True


def write_mrc_movie(path: Path, recording: Recording) -> None:
    """Write frames as they come: mode 0, 1, 2, 6 or 12 by the recording's type.

    Raises
    ------
    InvalidInput
        See ``raw_frames``.
    EnvironmentFault
        The disk will not take it, or has too little room from the beginning.
    """
    check_recording(recording, _MODES)
    rows, columns = recording.shape_px
    n_bytes = HEADER_BYTES + recording.n_frames * rows * columns * np.dtype(recording.dtype).itemsize
    numbers = _Numbers()
    with Sink(path, n_bytes=n_bytes) as sink:
        sink.append(bytes(HEADER_BYTES))  # all zero: reserved, not yet written
        for frame in stored_frames(recording):
            numbers.add(frame)
            sink.append(np.ascontiguousarray(frame).tobytes())
        sink.patch(0, _header(recording, numbers))


def write_mrc_image(path: Path, image: NDArray[Any], *, pixel_size_A: float) -> None:
    """Write one image `(ny, nx)` of a type that movies may have, bytes as signed; raises as `write_mrc_movie`."""
    numbers = _Numbers()
    numbers.add(image)
    head = build_header(
        (1, *image.shape), _MODES[image.dtype.name], pixel_size_A=(pixel_size_A,) * 3,
        is_stack=True, statistics=numbers.statistics,
    )  # fmt: skip
    stored = np.ascontiguousarray(image, image.dtype.newbyteorder("<")).tobytes()
    with Sink(path, n_bytes=HEADER_BYTES + len(stored)) as sink:
        sink.append(bytes(HEADER_BYTES))
        sink.append(stored)
        sink.patch(0, head)


def _header(recording: Recording, numbers: _Numbers) -> bytes:
    size = recording.pixel_size_A
    raw = bytearray(
        build_header(
            (recording.n_frames, *recording.shape_px), _MODES[recording.dtype], pixel_size_A=(size, size, size),
            is_stack=True, statistics=numbers.statistics,
        )
    )  # fmt: skip
    if recording.dtype == "uint8":
        struct.pack_into("<2i", raw, _IMOD_OFFSET, _IMOD_STAMP, 0)
    labels = [line.encode("ascii", "backslashreplace")[:_LABEL_BYTES] for line in describe(recording).splitlines()]
    labels = labels[:_MAX_LABELS]
    struct.pack_into("<i", raw, _N_LABELS_OFFSET, len(labels))
    raw[_LABELS_OFFSET:] = b"".join(label.ljust(_LABEL_BYTES) for label in labels).ljust(
        _LABEL_BYTES * _MAX_LABELS, b"\0"
    )
    return bytes(raw)


@dataclass
class _Numbers:
    """Least, greatest, mean and deviation of frames seen one after the other."""

    n: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    #: Sum of squared deviations from the mean.
    spread: float = 0.0
    finite: bool = True

    def add(self, frame: NDArray[Any]) -> None:
        """Take in one more frame, some rows at a time."""
        for top in range(0, frame.shape[0], _ROWS_AT_ONCE):
            values = frame[top : top + _ROWS_AT_ONCE].astype(np.float64).ravel()
            mean = float(values.mean())
            self.finite = self.finite and math.isfinite(mean)
            if not self.finite:
                return
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
            values -= mean
            step, total = mean - self.mean, self.n + values.size
            self.spread += float(values @ values) + step * step * self.n * values.size / total
            self.mean += step * values.size / total
            self.n = total

    @property
    def statistics(self) -> tuple[float, float, float, float]:
        """Min, max, mean, rms; of pixels that are not finite, what MRC2014 writes for "not known"."""
        if not self.finite:
            return (0.0, -1.0, -2.0, -1.0)
        return (self.low, self.high, self.mean, math.sqrt(self.spread / self.n))
