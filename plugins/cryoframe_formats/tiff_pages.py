"""Directories and strips of TIFF and BigTIFF files as they are written, one page after the other; no pixels here.

Each page is its directory, then what the directory points to, then its strips; the address of the first directory
is written last, so a file that is being written is not taken for a whole one.

References
----------
TIFF 6.0 (Adobe, 1992), sections 2 and 8; BigTIFF: www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryoframe_formats.sink import Bytes, Sink
from cryoframe_formats.tiff_ifd import COUNTS, OFFSETS

SHORT, LONG, RATIONAL, UNDEFINED, ASCII, LONG8 = 3, 4, 5, 7, 2, 16
MAX_CLASSIC_BYTES: Final = 2**32 - 1
_LETTERS: Final = {SHORT: "H", LONG: "I", RATIONAL: "I", LONG8: "Q"}
_ALIGNED: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: numbers (two for each rational), or text as bytes."""

    tag: int
    kind: int
    values: tuple[int, ...] | bytes

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values) // (2 if self.kind == RATIONAL else 1)

    @property
    def payload(self) -> bytes:
        """Values as little-endian bytes."""
        if isinstance(self.values, bytes):
            return self.values
        return struct.pack(f"<{len(self.values)}{_LETTERS[self.kind]}", *self.values)


def text(tag: int, words: str) -> Entry:
    """Entry of a text; what is not ASCII is escaped."""
    return Entry(tag, ASCII, words.encode("ascii", "backslashreplace") + b"\0")


class PageWriter:
    """Appends pages to a sink; `finish` makes the file whole.

    Parameters
    ----------
    sink
        Empty.
    big
        BigTIFF, for files of 4 GiB and more.
    """

    def __init__(self, sink: Sink, *, big: bool) -> None:
        self._sink, self._big = sink, big
        self._first = 16 if big else 8
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHI", b"II", 42, 0)
        sink.append(head)

    def add(self, entries: Sequence[Entry], strips: Sequence[Bytes], *, last: bool) -> None:
        """Write one page.

        Parameters
        ----------
        entries
            All tags but those that say where the strips are.
        strips
            As stored.
        last
            Whether the chain of pages ends here.
        """
        sizes = tuple(len(strip) for strip in strips)
        kind = LONG8 if self._big else LONG
        head_bytes = self._directory_bytes([*entries, Entry(OFFSETS, kind, sizes), Entry(COUNTS, LONG, sizes)])
        at = self._sink.end + head_bytes
        offsets = []
        for size in sizes:
            offsets.append(at)
            at += size
        following = at + -at % _ALIGNED
        blob = self._directory(
            [*entries, Entry(OFFSETS, kind, tuple(offsets)), Entry(COUNTS, LONG, sizes)], 0 if last else following
        )
        self._sink.append(b"".join([blob, *strips, b"\0" * (following - at)]))

    def finish(self) -> None:
        """Write the address of the first page."""
        self._sink.patch(*((8, struct.pack("<Q", self._first)) if self._big else (4, struct.pack("<I", self._first))))

    @property
    def _sizes(self) -> tuple[int, int, int]:
        """Bytes of the number of entries, of an entry, of an address."""
        return (8, 20, 8) if self._big else (2, 12, 4)

    def _directory_bytes(self, entries: Sequence[Entry]) -> int:
        counter, entry, address = self._sizes
        n_bytes = _padded(counter + entry * len(entries) + address)
        return n_bytes + sum(_padded(len(e.payload)) for e in entries if len(e.payload) > address)

    def _directory(self, entries: Sequence[Entry], following: int) -> bytes:
        counter, entry_bytes, address = self._sizes
        letter = "Q" if self._big else "I"
        table = [struct.pack("<Q" if self._big else "<H", len(entries))]
        outside: list[bytes] = []
        at = self._sink.end + _padded(counter + entry_bytes * len(entries) + address)
        for entry in sorted(entries, key=lambda one: one.tag):
            payload = entry.payload
            field = payload.ljust(address, b"\0")
            if len(payload) > address:
                field = struct.pack("<" + letter, at)
                outside.append(payload.ljust(_padded(len(payload)), b"\0"))
                at += len(outside[-1])
            table.append(struct.pack("<HH" + letter, entry.tag, entry.kind, entry.count) + field)
        table.append(struct.pack("<" + letter, following))
        head = b"".join(table)
        return b"".join([head.ljust(_padded(len(head)), b"\0"), *outside])


def _padded(n_bytes: int) -> int:
    return n_bytes + -n_bytes % _ALIGNED
