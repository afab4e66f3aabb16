"""Small files of the kinds that readers read, written by hand so that no reader is examined with its own writer."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from cryoframe.testing import testcard

Frames = npt.NDArray[np.uint16]
SHAPE_PX = (60, 84)
N_FRAMES = 3
PIXEL_A = 1.25


def card_frames(n: int = N_FRAMES) -> Frames:
    """The test card as counts, `(n, ny, nx)` uint16, each frame a little brighter."""
    card = np.round(testcard.card_image(SHAPE_PX) * 100.0) + 20.0
    return np.stack([card + frame for frame in range(n)]).astype(np.uint16)


def mrc_header(shape: tuple[int, ...], *, mode: int, pixel_size_A: float, is_volume: bool = False) -> bytes:
    """1024 bytes of an MRC2014 header for sections `(n, ny, nx)`."""
    n, ny, nx = shape
    header = bytearray(1024)
    struct.pack_into("<10i", header, 0, nx, ny, n, mode, 0, 0, 0, nx, ny, n)
    struct.pack_into("<6f", header, 40, nx * pixel_size_A, ny * pixel_size_A, n * pixel_size_A, 90.0, 90.0, 90.0)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    struct.pack_into("<i", header, 88, int(is_volume))
    header[208:216] = b"MAP \x44\x44\x00\x00"
    return bytes(header)


def write_mrc(path: Path, frames: Frames) -> None:
    """An MRC2014 file of mode 6 with a 1024-byte header."""
    header = bytearray(mrc_header(frames.shape, mode=6, pixel_size_A=PIXEL_A))
    struct.pack_into("<3f", header, 76, float(frames.min()), float(frames.max()), float(frames.mean()))
    struct.pack_into("<f", header, 216, float(frames.std()))
    path.write_bytes(bytes(header) + frames.astype("<u2").tobytes())


def write_tiff(path: Path, frames: Frames) -> None:
    """A little-endian TIFF 6.0, one strip a page; its first row is the last of the frame, as IMOD writes."""
    frames = frames[:, ::-1]
    ny, nx = frames.shape[1:]
    tags = [(256, 4, nx), (257, 4, ny), (258, 3, 16), (259, 3, 1), (262, 3, 1), (277, 3, 1), (278, 4, ny), (339, 3, 1)]
    body, last = bytearray(b"II*\0\0\0\0\0"), 4
    for frame in frames.astype("<u2"):
        data = frame.tobytes()
        start = len(body)
        body += data
        entries = sorted([*tags, (273, 4, start), (279, 4, len(data))])
        struct.pack_into("<I", body, last, len(body))
        body += struct.pack("<H", len(entries))
        body += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
        last = len(body)
        body += b"\0\0\0\0"
    path.write_bytes(bytes(body))


def write_png(path: Path, frames: Frames) -> None:
    """An 8-bit grey PNG of the first frame."""
    image = frames[0].astype(np.uint8)
    ny, nx = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", nx, ny, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def write_mdoc(path: Path, frames: Frames) -> None:
    """A SerialEM side-car file of one exposure."""
    del frames
    head = ["PixelSpacing = 1.25", "Voltage = 300", "", "[FrameSet = 0]", "TiltAngle = 0.01", "ExposureDose = 40.0"]
    lines = [*head, "PixelSpacing = 1.25", "Defocus = -1.2", "SubFramePath = X:\\frames\\card.tif", "NumSubFrames = 40"]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_text(path: Path, frames: Frames) -> None:
    """A letter: nobody's kind."""
    del frames
    path.write_text("Dear reader, this is not a measurement.\n" * 40, encoding="ascii")


def write_garbage(path: Path, frames: Frames) -> None:
    """Bytes without a meaning."""
    del frames
    path.write_bytes(np.random.default_rng(4).bytes(5000))


def write_nothing(path: Path, frames: Frames) -> None:
    """An empty file."""
    del frames
    path.touch()


#: name of the file → its writer; the last three are nobody's.
KINDS: Final[Mapping[str, Callable[[Path, Frames], None]]] = MappingProxyType(
    {
        "card.mrc": write_mrc,
        "card.tif": write_tiff,
        "card.png": write_png,
        "card.tif.mdoc": write_mdoc,
        "letter.txt": write_text,
        "garbage.bin": write_garbage,
        "nothing.dat": write_nothing,
    }
)
NOBODYS: Final = ("letter.txt", "garbage.bin", "nothing.dat")


def write(name: str, folder: Path, *, n_frames: int = N_FRAMES) -> Path:
    """Write the specimen of that name into a folder."""
    path = folder / name
    KINDS[name](path, card_frames(n_frames))
    return path
