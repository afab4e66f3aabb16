"""Hook: grey PNG and JPEG pictures as micrographs; structure checked before anything is decoded.

Row 0 of the picture is row 0 of the array: a picture has no convention of its own about the specimen's y axis.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cryoframe import MicrographSource, hookimpl
from cryoframe.errors import Corrupt, Incomplete, Refused, Unsupported
from cryoframe.formats.paths import open_regular

MAX_BYTES: Final = 2**30
MAX_SIDE_PX: Final = 65_500
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_DEFLATE_BEST: Final = 1040
_START_OF_SCAN: Final = 0xDA
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Picture:
    """A checked picture; pixels are read on demand. Pixel size, dose and voltage are never stated."""

    path: str
    kind: Literal["PNG", "JPEG"]
    shape_px: tuple[int, int]
    bits: int
    pixel_size_A: float | None = None
    dose_e_A2: float | None = None
    voltage_kV: float | None = None

    def read(self) -> NDArray[np.float32]:
        """Return the grey values as `(ny, nx)` float32.

        Raises
        ------
        Corrupt
            The stream cannot be decoded.
        """
        import imagecodecs

        raw = _whole(self.path)
        try:
            pixels = imagecodecs.png_decode(raw) if self.kind == "PNG" else imagecodecs.jpeg8_decode(raw)
        except (ValueError, RuntimeError) as error:
            raise Corrupt(
                f"{self.kind} cannot be decoded ({error})", path=self.path, remedy="Copy it again."
            ) from error
        if pixels.shape != self.shape_px:
            raise Corrupt(f"decoded to {pixels.shape}", path=self.path, expected=str(self.shape_px))
        return np.ascontiguousarray(pixels, np.float32)


@hookimpl
def open_micrograph(path: Path) -> MicrographSource | None:
    """Open a PNG or JPEG file; None for any other file."""
    with open_regular(path) as stream:
        head = stream.read(8)
    return open_picture(path) if head == _PNG or head[:3] == _JPEG else None


def open_picture(path: str | os.PathLike[str]) -> Picture:
    """Check a picture from its first to its last byte without decoding it.

    Raises
    ------
    Incomplete
        The file ends before the picture does.
    Corrupt
        A chunk's checksum is wrong, or sizes contradict each other.
    Unsupported
        Colour, palette or transparency; neither PNG nor JPEG.
    Refused
        More than 1 GiB, or a side longer than 65 500 pixels.
    """
    name = os.fspath(path)
    raw = _whole(name)
    if raw[:8] == _PNG:
        shape, bits = _check_png(raw, name)
        kind: Literal["PNG", "JPEG"] = "PNG"
    elif raw[:3] == _JPEG:
        shape, bits = _check_jpeg(raw, name)
        kind = "JPEG"
    else:
        raise Unsupported(
            f"first bytes {raw[:4].hex(' ') or 'missing'}", path=name, where="offset 0", expected="PNG or JPEG"
        )
    if not all(0 < side <= MAX_SIDE_PX for side in shape):
        raise Refused(f"picture of {shape[1]} × {shape[0]}", path=name, expected=f"sides of 1 to {MAX_SIDE_PX}")
    return Picture(name, kind, shape, bits)


def _whole(path: str) -> bytes:
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_BYTES:
            raise Refused(f"{size} bytes", path=path, expected=f"at most {MAX_BYTES}")
        return stream.read(MAX_BYTES)


def _cut(path: str, offset: int, what: str) -> Incomplete:
    return Incomplete(
        f"the file ends in {what}", path=path, where=f"offset {offset}", remedy="Wait until it is fully written."
    )


def _check_png(raw: bytes, path: str) -> tuple[tuple[int, int], int]:
    offset, stored = 8, 0
    header = b""
    while True:
        if offset + 12 > len(raw):
            raise _cut(path, len(raw), "a chunk")
        size, kind = struct.unpack_from(">I4s", raw, offset)
        name, end = kind.decode("latin-1"), offset + 12 + size
        if end > len(raw):
            raise _cut(path, len(raw), f"chunk {name!r}")
        if zlib.crc32(raw[offset + 4 : end - 4]) != struct.unpack_from(">I", raw, end - 4)[0]:
            raise Corrupt(
                f"the checksum of chunk {name!r} is wrong",
                path=path,
                where=f"offset {offset}",
                remedy="Copy the file again.",
            )
        if kind == b"IHDR" and size == 13:
            header = raw[offset + 8 : end - 4]
        stored += size if kind == b"IDAT" else 0
        if kind == b"IEND":
            break
        offset = end
    if not header:
        raise Corrupt("no header chunk", path=path, where="offset 8", expected="IHDR of 13 bytes")
    columns, rows, bits, colour = struct.unpack_from(">IIBB", header)
    if colour != 0 or bits not in (8, 16):
        raise Unsupported(f"PNG of {bits} bits, colour type {colour}", path=path, expected="8 or 16 bit grey")
    if rows * (columns * bits // 8 + 1) > stored * _DEFLATE_BEST:
        raise Corrupt(f"{columns} × {rows} pixels from {stored} bytes", path=path, expected="enough data")
    return (rows, columns), bits


def _check_jpeg(raw: bytes, path: str) -> tuple[tuple[int, int], int]:
    frame: tuple[int, ...] = ()
    offset = 2
    for marker, start, content in _jpeg_segments(raw, path):
        offset = start
        if marker in _FRAME_MARKERS and len(content) >= 6:
            frame = struct.unpack_from(">BHHB", content)
    if raw.rfind(b"\xff\xd9", max(offset, len(raw) - 4096)) < 0:
        raise _cut(path, len(raw), "the pixels")
    if not frame:
        raise Corrupt("no frame header before the pixels", path=path, where=f"offset {offset}", expected="SOF")
    bits, rows, columns, components = frame
    if components != 1 or bits != 8:
        raise Unsupported(f"JPEG of {components} components, {bits} bits", path=path, expected="8-bit grey")
    return (rows, columns), bits


def _jpeg_segments(raw: bytes, path: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield (marker, offset, content) of the segments up to the start of the pixels."""
    offset, marker = 2, 0
    while marker != _START_OF_SCAN:
        if offset + 4 > len(raw):
            raise _cut(path, len(raw), "a segment")
        if raw[offset] != 0xFF:
            raise Corrupt(f"byte {raw[offset]:#x}", path=path, where=f"offset {offset}", expected="a JPEG marker")
        marker = raw[offset + 1]
        if marker == 0xFF:
            offset += 1
            continue
        size = struct.unpack_from(">H", raw, offset + 2)[0]
        if offset + 2 + size > len(raw):
            raise _cut(path, len(raw), f"segment {marker:#x}")
        yield marker, offset, raw[offset + 4 : offset + 2 + size]
        offset += 2 + size
