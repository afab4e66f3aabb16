"""The directory chain of a TIFF or BigTIFF file, walked and checked before any pixel is touched; no decoding here.

References
----------
TIFF 6.0 (Adobe, 1992), sections 2 and 8; BigTIFF: www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np

from cryoframe.errors import Corrupt, FileError, Incomplete, Refused, Unsupported

MAX_IFDS: Final = 100_000
MAX_ENTRIES: Final = 512
MAX_SIDE_PX: Final = 200_000
MAX_TEXT_BYTES: Final = 16 * 2**20

WIDTH, LENGTH, BITS, COMPRESSION, FILL_ORDER, DESCRIPTION = 256, 257, 258, 259, 266, 270
OFFSETS, SAMPLES, ROWS_PER_STRIP, COUNTS, X_RESOLUTION, PLANAR, UNIT = 273, 277, 278, 279, 282, 284, 296
PREDICTOR, TILE_WIDTH, SAMPLE_FORMAT = 317, 322, 339
EER_XML, EER_POS_BITS, EER_X_BITS, EER_Y_BITS = 65001, 65007, 65008, 65009
_TYPES: Final = {
    1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d",
    13: "I", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
_KEPT: Final = frozenset(
    {
        WIDTH, LENGTH, BITS, COMPRESSION, FILL_ORDER, DESCRIPTION, OFFSETS, SAMPLES, ROWS_PER_STRIP, COUNTS,
        X_RESOLUTION, PLANAR, UNIT, PREDICTOR, TILE_WIDTH, SAMPLE_FORMAT, EER_XML, EER_POS_BITS, EER_X_BITS, EER_Y_BITS,
    }
)  # fmt: skip
Value = tuple[int, ...] | tuple[float, ...] | bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One directory: a frame's shape, type and the place of its strips."""

    number: int
    offset: int
    tags: dict[int, Value]
    byte_order: str
    strips: tuple[tuple[int, int], ...] = ()
    """(offset, bytes) of each strip."""

    def integer(self, tag: int, default: int | None = None) -> int:
        """First value of an integer tag."""
        value = self.tags.get(tag)
        if value is None or isinstance(value, bytes) or not value:
            if default is None:
                raise KeyError(tag)
            return default
        return int(value[0])

    @property
    def shape_px(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.integer(LENGTH), self.integer(WIDTH)

    @property
    def layout(self) -> tuple[int, int, int, int]:
        """Rows, columns, bits and sample format, equal in all frames of a movie."""
        return (*self.shape_px, self.integer(BITS, 1), self.integer(SAMPLE_FORMAT, 1))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of a stored pixel in the file's byte order."""
        kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(self.integer(SAMPLE_FORMAT, 1), "V")
        return np.dtype(f"{self.byte_order}{kind}{self.integer(BITS, 1) // 8}")

    @property
    def rows_per_strip(self) -> int:
        """Rows in all strips but the last."""
        rows = self.integer(LENGTH)
        return min(rows, self.integer(ROWS_PER_STRIP, rows))


@dataclass
class _Reader:
    """Byte access that never reads, nor allocates, beyond the file's end."""

    stream: BinaryIO
    path: str
    size: int
    order: str = "<"
    big: bool = False
    claimed: list[tuple[int, int]] = field(default_factory=list)

    def take(self, offset: int, count: int, what: str, frame: int) -> bytes:
        if offset < 0 or offset + count > self.size:
            raise self.short(what, offset + count, frame)
        self.stream.seek(offset)
        raw = self.stream.read(count)
        if len(raw) < count:
            raise self.short(what, offset + count, frame)
        return raw

    def short(self, what: str, needed: int, frame: int) -> Incomplete:
        return Incomplete(
            f"{what} of frame {frame + 1} ends at byte {needed}, the file at {self.size}",
            path=self.path,
            where=f"frame {frame + 1}",
            expected=f"{needed} bytes or more",
            remedy="Wait until the movie is fully written, or copy it again.",
        )

    def corrupt(self, what: str, where: int, expected: str = "") -> FileError:
        return Corrupt(what, path=self.path, where=f"offset {where}", expected=expected, remedy="Copy the file again.")


def is_tiff(head: bytes) -> bool:
    """Whether the first four bytes are those of a TIFF or BigTIFF file."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_pages(stream: BinaryIO, path: str, *, max_pages: int = MAX_IFDS) -> tuple[Page, ...]:
    """Walk the whole chain and prove that every strip of every frame lies in the file.

    Parameters
    ----------
    stream
        The open file.
    path
        Its name, for messages.
    max_pages
        Refuse longer chains.

    Returns
    -------
    One page a frame, all of one shape and type.

    Raises
    ------
    Incomplete
        The chain or a strip runs beyond the end of the file; the frame is named.
    Corrupt
        Loops, overlapping strips, counts that contradict the shape.
    Unsupported
        Tiles, several samples a pixel, reversed bits.
    Refused
        More than `max_pages` frames.
    """
    reader = _header(stream, path)
    pages = [_checked(reader, page) for page in _chain(reader, max_pages)]
    _check_overlap(reader)
    first = pages[0]
    for page in pages[1:]:
        if page.layout != first.layout:
            raise reader.corrupt(
                f"frame {page.number + 1} has rows, columns, bits, format {page.layout}",
                page.offset,
                f"{first.layout} as the first frame",
            )
    return tuple(pages)


def _header(stream: BinaryIO, path: str) -> _Reader:
    size = os.fstat(stream.fileno()).st_size
    stream.seek(0)
    head = stream.read(16)
    if len(head) < 8:
        raise Incomplete(f"{len(head)} bytes", path=path, expected="a TIFF header of 8 bytes", remedy="Wait.")
    if not is_tiff(head):
        raise Corrupt(f"first bytes {head[:4].hex(' ')}", path=path, where="offset 0", expected="II*, MM* or BigTIFF")
    order = "<" if head[:2] == b"II" else ">"
    reader = _Reader(stream, path, size, order, head[2:4] in (b"+\0", b"\0+"))
    if reader.big and head[4:8] != struct.pack(order + "HH", 8, 0):
        raise reader.corrupt(f"BigTIFF header {head[4:8].hex()}", 4, "offsets of 8 bytes")
    return reader


def _chain(reader: _Reader, max_pages: int) -> Iterator[Page]:
    kind, width, start = (reader.order + "Q", 8, 8) if reader.big else (reader.order + "I", 4, 4)
    (offset,) = struct.unpack(kind, reader.take(start, width, "first directory's address", 0))
    if offset == 0:
        raise Incomplete(
            "no directory yet", path=reader.path, where=f"offset {start}", expected="the first frame's address",
            remedy="Wait until the movie is fully written.",
        )  # fmt: skip
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise reader.corrupt("the chain of directories runs in a circle", offset, "each directory once")
        if len(seen) >= max_pages:
            raise Refused(f"more than {max_pages} frames", path=reader.path, where=f"offset {offset}")
        seen.add(offset)
        page, offset = _directory(reader, offset, len(seen) - 1)
        yield page


def _directory(reader: _Reader, offset: int, number: int) -> tuple[Page, int]:
    counter, entry_bytes, link = ("Q", 20, "Q") if reader.big else ("H", 12, "I")
    head = struct.calcsize("<" + counter)
    (n,) = struct.unpack(reader.order + counter, reader.take(offset, head, "directory", number))
    if not 0 < n <= MAX_ENTRIES:
        raise reader.corrupt(f"directory of {n} entries", offset, f"1 to {MAX_ENTRIES}")
    tail = struct.calcsize("<" + link)
    raw = reader.take(offset + head, n * entry_bytes + tail, "directory", number)
    reader.claimed.append((offset, head + len(raw)))
    tags: dict[int, Value] = {}
    for index in range(n):
        tag, value = _entry(reader, raw[index * entry_bytes : (index + 1) * entry_bytes], number)
        if value is not None:
            tags[tag] = value
    (following,) = struct.unpack(reader.order + link, raw[-tail:])
    return Page(number, offset, tags, reader.order), following


def _entry(reader: _Reader, raw: bytes, number: int) -> tuple[int, Value | None]:
    """Decode one entry; only tags of use here are fetched, and never more than the file can hold."""
    tag, kind = struct.unpack_from(reader.order + "HH", raw)
    count = struct.unpack_from(reader.order + ("Q" if reader.big else "I"), raw, 4)[0]
    if kind not in _TYPES:
        return tag, None
    letters = _TYPES[kind]
    size = count * struct.calcsize("<" + letters)
    inline = raw[12:] if reader.big else raw[8:]
    if size <= len(inline):
        payload = inline[:size]
    else:
        (at,) = struct.unpack(reader.order + ("Q" if reader.big else "I"), inline)
        payload = _payload(reader, (tag, at, size), number)
    if tag not in _KEPT:
        return tag, None
    if letters in ("s", "B") and (kind in (2, 7) or tag == EER_XML):
        return tag, payload.rstrip(b"\0")
    values = struct.unpack(f"{reader.order}{count * len(letters)}{letters[0]}", payload)
    if len(letters) == 2:
        return tag, tuple(a / b if b else 0.0 for a, b in zip(values[::2], values[1::2], strict=True))
    return tag, values


def _payload(reader: _Reader, place: tuple[int, int, int], number: int) -> bytes:
    """Fetch a value kept outside the directory; of one that is of no use only see that it is there."""
    tag, at, size = place
    if at + size > reader.size:
        raise reader.short(f"tag {tag}", at + size, number)
    if tag not in _KEPT:
        return b""
    if size > MAX_TEXT_BYTES:
        raise reader.corrupt(f"tag {tag} of frame {number + 1} holds {size} bytes", at, "at most 16 MiB")
    return reader.take(at, size, f"tag {tag}", number)


def _checked(reader: _Reader, page: Page) -> Page:
    """Check one page's shape and strips against each other and the file."""
    if TILE_WIDTH in page.tags:
        raise _unsupported(reader, page, "tiles", "strips")
    for tag, name in ((SAMPLES, "samples a pixel"), (FILL_ORDER, "fill order"), (PLANAR, "planar configuration")):
        if page.integer(tag, 1) != 1:
            raise _unsupported(reader, page, f"{name} {page.integer(tag, 1)}", "1")
    try:
        rows, columns = page.shape_px
        offsets, counts = page.tags[OFFSETS], page.tags[COUNTS]
    except KeyError as error:
        message = f"frame {page.number + 1} has no tag {error.args[0]}"
        raise reader.corrupt(message, page.offset, "width, length, strip offsets and byte counts") from None
    if not (0 < rows <= MAX_SIDE_PX and 0 < columns <= MAX_SIDE_PX):
        raise reader.corrupt(f"frame {page.number + 1} of {columns} × {rows}", page.offset, f"1 to {MAX_SIDE_PX}")
    if page.rows_per_strip < 1:
        raise reader.corrupt(f"frame {page.number + 1} has 0 rows a strip", page.offset, "1 or more")
    strips = _strips(reader, page, offsets, counts)
    return Page(page.number, page.offset, page.tags, page.byte_order, strips)


def _strips(reader: _Reader, page: Page, offsets: Value, counts: Value) -> tuple[tuple[int, int], ...]:
    """Return (offset, bytes) of each strip after proving that all lie in the file."""
    rows = page.shape_px[0]
    expected = -(-rows // page.rows_per_strip)
    if isinstance(offsets, bytes) or isinstance(counts, bytes) or not len(offsets) == len(counts) == expected:
        raise reader.corrupt(
            f"frame {page.number + 1} has {len(offsets)} strip offsets, {len(counts)} byte counts", page.offset,
            f"{expected} for {rows} rows",
        )  # fmt: skip
    strips = tuple((int(at), int(size)) for at, size in zip(offsets, counts, strict=True))
    for at, size in strips:
        if at == 0 or size <= 0:
            raise Incomplete(
                f"a strip of frame {page.number + 1} is not written yet", path=reader.path,
                where=f"frame {page.number + 1}", expected="its place and size", remedy="Wait.",
            )  # fmt: skip
        if at + size > reader.size:
            raise reader.short("a strip", at + size, page.number)
        reader.claimed.append((at, size))
    return strips


def _unsupported(reader: _Reader, page: Page, what: str, expected: str) -> Unsupported:
    return Unsupported(
        what, path=reader.path, where=f"frame {page.number + 1}", expected=expected, remedy="Convert the file."
    )


def _check_overlap(reader: _Reader) -> None:
    end = 8
    for offset, size in sorted(reader.claimed):
        if offset < end:
            raise reader.corrupt("strips or directories overlap", offset, "each byte used once")
        end = offset + size
