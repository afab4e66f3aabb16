"""EER movies (Falcon 4): internal frames grouped into fractions, every left-over frame accounted for.

The container is a TIFF chain (``tiff_ifd``), a frame's events are in ``eer_decode``. Rows are *not* turned over, unlike
in other TIFF movies: that is RELION's convention for EER and for its ``.gain`` files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, Incomplete, InvalidInput, Unsupported
from cryoframe.formats.paths import open_regular
from cryoframe.numerics.eer_bits import add_events
from cryoframe_formats.eer_decode import EerCode, decode_events
from cryoframe_formats.tiff_ifd import COMPRESSION, EER_POS_BITS, EER_X_BITS, EER_XML, EER_Y_BITS, Page, read_pages
from cryoframe_formats.tiff_strips import strip_bytes
from cryoframe_formats.xml_items import read_items

DEFAULT_FRACTIONS: Final = 40
UPSAMPLINGS: Final = (1, 2, 4)
_LEGACY_END: Final = b"ThermoFisherECComprOK000"
_LEFT_OVER: Final = "fill no fraction"
_CODES: Final = (65000, 65001, 65002)


@dataclass(frozen=True)
class EerMovie:
    """Fractions of an EER movie; nothing is kept open or in memory."""

    path: str
    pages: tuple[Page, ...]
    metadata: dict[str, str]
    """Items of the acquisition's XML, names as in the file."""
    n_frames: int
    """Number of fractions, all of equally many internal frames."""
    frames_per_fraction: int
    upsampling: int
    flags: tuple[str, ...] = ()

    @property
    def n_internal_frames(self) -> int:
        """Number of frames in the file."""
        return len(self.pages)

    @property
    def n_left_over(self) -> int:
        """Internal frames at the end that fill no fraction and are not used."""
        return len(self.pages) - self.n_frames * self.frames_per_fraction

    @property
    def shape_px(self) -> tuple[int, int]:
        """Fraction shape `(ny, nx)`, up-sampling included."""
        rows, columns = self.pages[0].shape_px
        return rows * self.upsampling, columns * self.upsampling

    @property
    def pixel_size_A(self) -> float | None:
        """Pixel at the specimen where the file states one that makes sense; some state the sensor's own."""
        size = self._native_pixel_A
        return None if size is None else size / self.upsampling

    @property
    def dose_e_A2(self) -> float | None:
        """Total dose where the file states it [e/Å²]."""
        pixel = self._native_pixel_A
        per_pixel = None if pixel is None else 1.0 / pixel**2
        return _quantity(self.metadata, "totalDose", {"e/m^2": 1e-20, "e/pixel": per_pixel})

    @property
    def _native_pixel_A(self) -> float | None:
        sides = [_quantity(self.metadata, f"sensorPixelSize.{side}", {"m": 1e10}) for side in ("width", "height")]
        width, height = sides
        if width is None or height is None or not 0.05 < width < 100.0 or abs(width - height) > 1e-3 * width:
            return None
        return width

    def grouped(self, frames_per_fraction: int | None = None, *, n_fractions: int | None = None) -> EerMovie:
        """Return the movie with other fractions; name one of the two numbers.

        Raises
        ------
        InvalidInput
            Neither or both named, or not between 1 and the number of internal frames.
        """
        n = self.n_internal_frames
        if (frames_per_fraction is None) == (n_fractions is None):
            raise InvalidInput("name frames_per_fraction or n_fractions", expected="exactly one of them")
        wanted = frames_per_fraction if n_fractions is None else n_fractions
        if wanted is None or not 1 <= wanted <= n:
            raise InvalidInput(f"{wanted} for {n} internal frames", expected=f"1 to {n}")
        other = n // wanted
        n_frames, per_fraction = (other, wanted) if n_fractions is None else (wanted, other)
        movie = replace(self, n_frames=n_frames, frames_per_fraction=per_fraction)
        if not movie.n_left_over:
            return movie
        text = f"{movie.n_left_over} of {n} internal frames fill no fraction and are not used"
        return replace(movie, flags=(*(flag for flag in self.flags if _LEFT_OVER not in flag), text))

    def read_internal(self, number: int) -> NDArray[np.bool_]:
        """Return where electrons fell in one internal frame (from 0)."""
        counts = np.zeros(self.shape_px, np.uint16)
        with open_regular(self.path) as stream:
            add_events(counts, self._decode(stream, number), self.upsampling)
        return counts > 0

    def read_frame(self, index: int) -> NDArray[np.float32]:
        """Return fraction `index` (from 0): electrons counted, `(ny, nx)` float32."""
        if not 0 <= index < self.n_frames:
            raise IndexError(index)
        counts = np.zeros(self.shape_px, np.uint16)
        first = index * self.frames_per_fraction
        with open_regular(self.path) as stream:
            for number in range(first, first + self.frames_per_fraction):
                add_events(counts, self._decode(stream, number), self.upsampling)
        return counts.astype(np.float32)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self.read_frame(index) for index in range(self.n_frames))

    def _decode(self, stream: BinaryIO, number: int) -> NDArray[np.int32]:
        page = self.pages[number]
        raw = b"".join(strip_bytes(stream, page, strip, self.path) for strip in range(len(page.strips)))
        try:
            return decode_events(raw, _code(page, self.path), page.shape_px)
        except Corrupt as error:
            raise Corrupt(
                error.what,
                path=self.path,
                where=f"internal frame {number + 1}, offset {page.strips[0][0]}",
                expected=error.expected,
                remedy=error.remedy,
            ) from error


def open_eer(
    path: str | os.PathLike[str],
    *,
    n_fractions: int | None = None,
    frames_per_fraction: int | None = None,
    upsampling: int = 1,
) -> EerMovie:
    """Open an EER movie after walking its whole chain of frames.

    Parameters
    ----------
    path
        The file.
    n_fractions, frames_per_fraction
        How to group the internal frames into fractions of equally many; by default as few frames a fraction as give
        at most 40 fractions. Frames that fill none are left over (``n_left_over``) and said so in ``flags``.
    upsampling
        1, 2 or 4: pixels along an edge for each of the sensor's.

    Raises
    ------
    Incomplete
        The chain ends early, or there are fewer frames than the metadata says.
    Corrupt
        More frames than the metadata says, or contradictions in the chain.
    Unsupported
        The container before 2020 (no TIFF), other compressions.
    InvalidInput
        Grouping or up-sampling out of range.
    """
    if upsampling not in UPSAMPLINGS:
        raise InvalidInput(f"upsampling {upsampling}", expected="1, 2 or 4")
    name = os.fspath(path)
    with open_regular(path) as stream:
        _check_container(stream, name)
        pages = read_pages(stream, name)
    pages, flags = _event_pages(pages, name)
    metadata = _metadata(pages[0], name)
    _check_count(metadata, len(pages), name)
    movie = EerMovie(name, pages, metadata, len(pages), 1, upsampling, flags)
    if n_fractions is None and frames_per_fraction is None:
        frames_per_fraction = -(-len(pages) // DEFAULT_FRACTIONS)
    return movie.grouped(frames_per_fraction, n_fractions=n_fractions)


def is_eer(stream: BinaryIO, path: str) -> bool:
    """Whether a TIFF's first or second page is a frame of events."""
    try:
        pages = read_pages(stream, path)
    except Incomplete:
        return os.fspath(path).lower().endswith(".eer")
    return any(page.integer(COMPRESSION, 1) in _CODES for page in pages[:2])


def _check_container(stream: BinaryIO, path: str) -> None:
    stream.seek(0, os.SEEK_END)
    size = stream.tell()
    stream.seek(max(0, size - len(_LEGACY_END)))
    if stream.read() == _LEGACY_END:
        raise Unsupported(
            "EER container of before 2020", path=path, where="end of file", expected="EER in TIFF",
            remedy="Convert it with the camera vendor's program.",
        )  # fmt: skip


def _event_pages(pages: tuple[Page, ...], path: str) -> tuple[tuple[Page, ...], tuple[str, ...]]:
    """Drop the summed image some programs write first; refuse a mixture."""
    flags: tuple[str, ...] = ()
    if len(pages) > 1 and pages[0].integer(COMPRESSION, 1) not in _CODES:
        pages, flags = pages[1:], ("the first page is a summed image, not used",)
    for page in pages:
        _code(page, path)
    return pages, flags


def _code(page: Page, path: str) -> EerCode:
    compression = page.integer(COMPRESSION, 1)
    code = {65000: EerCode(8), 65001: EerCode(7)}.get(compression)
    if compression == 65002:
        bits = (page.integer(EER_POS_BITS, 7), page.integer(EER_X_BITS, 2), page.integer(EER_Y_BITS, 2))
        code = EerCode(*bits) if 4 <= bits[0] <= 12 and bits[1] == bits[2] == 2 else None
    if code is None:
        raise Unsupported(
            f"compression {compression}", path=path, where=f"frame {page.number + 1}", expected="EER events",
            remedy="Open it as a TIFF movie, or convert it.",
        )  # fmt: skip
    return code


def _metadata(page: Page, path: str) -> dict[str, str]:
    raw = page.tags.get(EER_XML, b"")
    return read_items(raw, path) if isinstance(raw, bytes) and raw else {}


def _check_count(metadata: dict[str, str], n: int, path: str) -> None:
    text = metadata.get("numberOfFrames", "")
    if not re.fullmatch(r"\d{1,9}", text) or int(text) == n:
        return
    kind = Incomplete if n < int(text) else Corrupt
    raise kind(
        f"{n} frames", path=path, where=f"frame {n}", expected=f"{text} as the acquisition's metadata says",
        remedy="Wait until it is fully written, or copy it again.",
    )  # fmt: skip


def _quantity(metadata: dict[str, str], name: str, units: dict[str, float | None]) -> float | None:
    factor = units.get(metadata.get(f"{name}.unit", ""))
    try:
        return float(metadata[name]) * factor if factor is not None else None
    except (KeyError, ValueError):
        return None
