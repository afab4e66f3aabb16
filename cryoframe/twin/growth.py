"""How one file grows on the disk: in pieces of bytes, or a TIFF frame by frame. Writes nothing itself."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from cryoframe.errors import Corrupt, EnvironmentFault

#: Between two frames where no bandwidth says how fast they come.
FRAME_S: Final = 0.1
_MAX_PAGES: Final = 100_000
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_OFFSETS, _COUNTS = (273, 324), (279, 325)


@dataclass(frozen=True)
class Piece:
    """A file to land: its path relative to the session's folder, and its bytes, or the staged file that has them."""

    path: PurePosixPath
    source: Path | bytes

    @property
    def size(self) -> int:
        """Bytes."""
        if isinstance(self.source, bytes):
            return len(self.source)
        with _staged(self.source):
            return self.source.stat().st_size

    def read(self, start: int, size: int) -> bytes:
        """Return part of it."""
        if isinstance(self.source, bytes):
            return self.source[start : start + size]
        with _staged(self.source), self.source.open("rb") as stream:
            stream.seek(start)
            return stream.read(size)


@contextlib.contextmanager
def _staged(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(
            f"staged file {source} cannot be read ({error.strerror})",
            remedy="Staged files must stay as they are until they have landed.",
        ) from error


@dataclass(frozen=True)
class Writing:
    """How a file is written."""

    #: Bytes that are written of it.
    stop: int
    #: 0 = at once.
    bandwidth_B_s: float = 0.0
    chunk_bytes: int = 1 << 22
    #: Pause in the middle.
    stall_s: float = 0.0
    by_frame: bool = False


@dataclass(frozen=True)
class Written:
    """One write: bytes `start` to `stop` of the source go to `offset`."""

    time_s: float
    source: Path | bytes
    start: int
    stop: int
    offset: int
    #: The file is new, or begun anew.
    first: bool = False


def written(piece: Piece, how: Writing, begin_s: float) -> Iterator[Written]:
    """Yield the writes of a file in order."""
    groups = _by_frame(piece, how.stop) if how.by_frame and is_tiff(piece) else None
    pace = how.bandwidth_B_s
    if groups is None:
        groups = [[(piece.source, span[0], span[1], span[0])] for span in _chunks(how)]
    elif not pace:
        pace = how.stop / (FRAME_S * max(len(groups), 1))
    n_done, stalled, first = 0, how.stall_s <= 0, True
    pause_s = 0.0
    for group in groups:
        for source, start, stop, offset in group:
            n_done = max(n_done, offset + stop - start)
            time_s = begin_s + pause_s + (n_done / pace if pace else 0.0)
            yield Written(time_s, source, start, stop, offset, first)
            first = False
        if not stalled and 2 * n_done >= how.stop:
            stalled, pause_s = True, how.stall_s


def _chunks(how: Writing) -> Iterator[tuple[int, int]]:
    size = how.chunk_bytes if how.bandwidth_B_s else max(how.stop, 1)
    if how.stall_s > 0:
        size = max(1, min(size, -(-how.stop // 2)))
    yield from ((start, min(start + size, how.stop)) for start in range(0, max(how.stop, 1), size))


# -- TIFF --------------------------------------------------------------------------------------------------------
Span = tuple[Path | bytes, int, int, int]


def is_tiff(piece: Piece) -> bool:
    """Whether the file begins as a TIFF."""
    return piece.read(0, 4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class _Page:
    end: int
    #: Where the offset of the next page is written, and its length.
    link: int
    link_size: int


def _by_frame(piece: Piece, limit: int) -> list[list[Span]]:
    """Return writes after each of which the file is a TIFF of the frames so far.

    The last page's link to the next stays 0 until that page is whole, as in files that programs append to.
    """
    groups: list[list[Span]] = []
    done, previous = 0, None
    pages = list(_pages(piece))
    for index, page in enumerate(pages):
        end = max(done, page.end)
        if end > limit:
            break
        zeros = None if index == len(pages) - 1 else page
        group = _span(piece, done, end, zeros)
        if previous is not None:
            group.append((piece.source, previous.link, previous.link + previous.link_size, previous.link))
        groups.append(group)
        done, previous = end, page
    if len(groups) == len(pages) and done < limit:
        groups.append([(piece.source, done, limit, done)])
    return groups or [[(piece.source, 0, 0, 0)]]


def _span(piece: Piece, start: int, stop: int, zeros: _Page | None) -> list[Span]:
    """Return the writes of a stretch, with zeros in place of a page's link; one before the stretch is zeroed too."""
    if zeros is None:
        return [(piece.source, start, stop, start)] if stop > start else []
    link, after = zeros.link, zeros.link + zeros.link_size
    spans: list[Span] = [(piece.source, start, min(stop, link), start)] if start < min(stop, link) else []
    spans.append((bytes(zeros.link_size), 0, zeros.link_size, link))
    if max(start, after) < stop:
        spans.append((piece.source, max(start, after), stop, max(start, after)))
    return spans


def _pages(piece: Piece) -> Iterator[_Page]:
    head = piece.read(0, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    place = int(struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0])
    for _ in range(_MAX_PAGES):
        if not place:
            return
        page, place = _page(piece, place, order, big=big)
        yield page
    raise Corrupt(f"more than {_MAX_PAGES} pages", path=piece.path, expected="a movie")


def _page(piece: Piece, place: int, order: str, *, big: bool) -> tuple[_Page, int]:
    """Return a page's extent and where the next one begins."""
    n_size, entry, word = (8, 20, 8) if big else (2, 12, 4)
    offset_of = order + ("Q" if big else "I")
    (n_entries,) = struct.unpack(order + ("Q" if big else "H"), piece.read(place, n_size))
    link = place + n_size + n_entries * entry
    table = piece.read(place + n_size, n_entries * entry + word)
    if len(table) < n_entries * entry + word:
        raise Corrupt("a page is cut short", path=piece.path, where=f"offset {place}", expected="a whole TIFF")
    end, values = link + word, {}
    for index in range(n_entries):
        tag, kind, n_values = struct.unpack_from(order + "HH" + offset_of[1], table, index * entry)
        size, at = n_values * _SIZES.get(kind, 1), index * entry + entry - word
        outside = int(struct.unpack_from(offset_of, table, at)[0]) if size > word else None
        if outside is not None:
            end = max(end, outside + size)
        if tag in (*_OFFSETS, *_COUNTS) and kind in (3, 4, 16):
            raw = table[at : at + size] if outside is None else piece.read(outside, size)
            values[tag] = struct.unpack(f"{order}{n_values}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", raw)
    for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
        ends = (start + size for start, size in zip(values.get(offsets, ()), values.get(counts, ()), strict=False))
        end = max([end, *ends])
    return _Page(end, link, word), int(struct.unpack_from(offset_of, table, n_entries * entry)[0])
