"""Reading and writing MRC files, plain or compressed; the header's meaning is in ``mrc_header``.

Every read begins with the size equation ``1024 + extended + pixels == file size``, before anything is allocated.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cryoframe.errors import Corrupt, Incomplete, Refused, Unsupported
from cryoframe.formats import mrc_fei
from cryoframe.formats.mrc_header import HEADER_BYTES, MrcHeader, parse_header, unpack_nibbles
from cryoframe.formats.mrc_write import write
from cryoframe.formats.paths import open_regular

__all__ = ["MrcHeader", "open_mapped", "read", "read_frames", "read_header", "read_image", "write"]

MAX_INFLATED_BYTES = 8 * 2**30
MAX_EXTENDED_BYTES = 256 * 2**20
_CHUNK = 1 << 20
_GZIP_BEST = 1040
"""Deflate cannot shrink by more than about 1 032; a larger claim is a file cut short or a lie."""

Path_ = str | os.PathLike[str]
Array = NDArray[Any]


def read_header(path: Path_, *, strict: bool = False, max_bytes: int = MAX_INFLATED_BYTES) -> MrcHeader:
    """Read the header and prove that the file has the size it claims.

    Parameters
    ----------
    path
        MRC, MRCS or map file, plain or compressed with gzip or bzip2 (told by its first bytes).
    strict
        Raise on trailing bytes instead of noting them in ``flags``.
    max_bytes
        Largest size a compressed file may claim to inflate to.

    Raises
    ------
    Incomplete
        The file is shorter than its header says.
    Corrupt
        The header makes no sense, or `strict` and the file is longer than its header says.
    Unsupported
        A mode that is not read here.
    Refused
        Not a regular file, or a compressed file that claims more than `max_bytes`.
    """
    with _opened(path) as (stream, compressed):
        header = _checked_header(stream, compressed, str(path), strict=strict, max_bytes=max_bytes)
        if compressed:
            end = header.file_bytes
            length = _skip(stream, end + 1, str(path))
            header = _judge_length(header, length, strict=strict, open_end=length > end)
    return header


def read(
    path: Path_, *, dtype: DTypeLike | None = np.float32, strict: bool = False, max_bytes: int = MAX_INFLATED_BYTES
) -> tuple[Array, MrcHeader]:
    """Read all pixels.

    Parameters
    ----------
    path, strict, max_bytes
        As in :func:`read_header`.
    dtype
        Type of the result; None keeps the stored type in native byte order.

    Returns
    -------
    array
        `(z, y, x)`, C order, always three axes; a single image has z = 1.
    header
        The file's :class:`MrcHeader`.

    Raises
    ------
    Incomplete, Corrupt, Unsupported, Refused
        As in :func:`read_header`; Unsupported also where complex pixels are asked for as real ones.
    """
    with _opened(path) as (stream, compressed):
        header = _checked_header(stream, compressed, str(path), strict=strict, max_bytes=max_bytes)
        wanted = _wanted_type(header, dtype)
        _to_pixels(stream, compressed, header)
        if compressed:
            raw = _inflate(stream, header)
            rest = len(_read_some(stream, 1, header.path))
            header = _judge_length(header, header.file_bytes + rest, strict=strict, open_end=rest > 0)
            stored = np.frombuffer(raw, np.uint8 if header.packed else header.dtype)
        else:
            stored = _read_plain(stream, header)
    return _arranged(stored, header, wanted), header


def read_image(path: Path_, *, dtype: DTypeLike | None = np.float32) -> tuple[Array, MrcHeader]:
    """Read a file of one image as `(y, x)`; Refused where it holds several sections."""
    header = read_header(path)
    if header.shape[0] != 1:
        raise Refused(
            f"{header.shape[0]} sections", path=str(path), where="offset 8", expected="a single image",
            remedy="Open it as a movie, stack or volume.",
        )  # fmt: skip
    array, header = read(path, dtype=dtype)
    return array[0], header


def open_mapped(path: Path_, *, strict: bool = False) -> Array:
    """Map the pixels read-only: `(z, y, x)` in the stored type and byte order, nothing loaded.

    Raises
    ------
    Unsupported
        The file is compressed or packs two pixels in a byte.
    """
    with _opened(path) as (stream, compressed):
        header = _checked_header(stream, compressed, str(path), strict=strict, max_bytes=0 if compressed else _CHUNK)
        if compressed or header.packed:
            what = "compressed" if compressed else "packed 4-bit"
            raise Unsupported(
                f"{what} file cannot be mapped", path=str(path), remedy="Use mrc.read or mrc.read_frames."
            )
        mapped = np.memmap(
            cast(io.BufferedReader, stream), header.dtype, "r", offset=header.data_offset, shape=header.stored_shape
        )
    return mapped.transpose(_axes_to_zyx(header))


def read_frames(path: Path_, *, dtype: DTypeLike | None = None, max_bytes: int = MAX_INFLATED_BYTES) -> Iterator[Array]:
    """Yield the sections one by one as `(y, x)`, holding one in memory at a time.

    Raises
    ------
    Unsupported
        The stored sections are not along z (axis order): read the whole file instead.
    """
    with _opened(path) as (stream, compressed):
        header = _checked_header(stream, compressed, str(path), strict=False, max_bytes=max_bytes)
        wanted = _wanted_type(header, dtype)
        if header.axis_order[2] != 3:
            raise Unsupported(f"sections run along axis {header.axis_order[2]}, not z", path=str(path))
        _to_pixels(stream, compressed, header)
        one = replace(header, stored_shape=(1, *header.stored_shape[1:]))
        for number in range(header.stored_shape[0]):
            raw = _read_some(stream, header.section_bytes, header.path)
            if len(raw) < header.section_bytes:
                raise _short(header, header.data_offset + number * header.section_bytes + len(raw))
            yield _arranged(np.frombuffer(raw, np.uint8 if header.packed else header.dtype), one, wanted)[0]


@contextmanager
def _opened(path: Path_) -> Iterator[tuple[BinaryIO, str]]:
    """Open a plain or compressed file; the second item is ``gzip``, ``bzip2`` or empty."""
    with open_regular(path) as plain:
        magic = plain.read(3)
        plain.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=plain) as stream:
                yield cast(BinaryIO, stream), "gzip"
        elif magic == b"BZh":
            with bz2.BZ2File(plain) as stream2:
                yield cast(BinaryIO, stream2), "bzip2"
        else:
            yield plain, ""


def _checked_header(stream: BinaryIO, compressed: str, path: str, *, strict: bool, max_bytes: int) -> MrcHeader:
    header = parse_header(_read_some(stream, HEADER_BYTES, path), path=path)
    if not compressed:
        header = _judge_length(header, os.fstat(stream.fileno()).st_size, strict=strict)
    elif max_bytes:
        packed_size = Path(path).stat().st_size
        if header.file_bytes > max_bytes:
            raise Refused(
                f"claims to inflate to {header.file_bytes} bytes", path=path, expected=f"at most {max_bytes} bytes",
                remedy="Inflate it by hand, or raise max_bytes.",
            )  # fmt: skip
        if compressed == "gzip" and header.file_bytes > packed_size * _GZIP_BEST + _CHUNK:
            raise _short(header, packed_size)
    if header.extended_type in {"FEI1", "FEI2"} and 0 < header.extended_bytes <= MAX_EXTENDED_BYTES:
        block = _read_some(stream, header.extended_bytes, path)
        fei = mrc_fei.parse(block, extended_type=header.extended_type, n_images=header.stored_shape[0], path=path)
        header = replace(header, fei=fei)
    return header


def _judge_length(header: MrcHeader, length: int, *, strict: bool, open_end: bool = False) -> MrcHeader:
    if length < header.file_bytes:
        raise _short(header, length)
    if length == header.file_bytes:
        return header
    extra = "at least one byte" if open_end else f"{length - header.file_bytes} bytes"
    if strict:
        raise Corrupt(
            f"{extra} after the last pixel", path=header.path, where=f"offset {header.file_bytes}",
            expected=f"{header.file_bytes} bytes in all", remedy="Header and pixels disagree: write the file again.",
        )  # fmt: skip
    return replace(header, flags=(*header.flags, f"{extra} after the last pixel, ignored"))


def _short(header: MrcHeader, length: int) -> Incomplete:
    sections, rows, columns = header.stored_shape
    got = max(0, length - header.data_offset) // max(1, header.section_bytes)
    return Incomplete(
        f"file ends after {length} bytes, in section {min(got, sections) + 1} of {sections}",
        path=header.path,
        where=f"offset {length}",
        expected=f"{header.file_bytes} bytes for {columns} × {rows} × {sections} pixels of mode {header.mode}",
        remedy="Wait until it is fully written, or copy it again.",
    )


def _read_some(stream: IO[bytes], count: int, path: str) -> bytes:
    """Read up to `count` bytes; damage in a compressed stream becomes one of our errors."""
    parts: list[bytes] = []
    left = count
    try:
        while left > 0 and (part := stream.read(min(left, _CHUNK))):
            parts.append(part)
            left -= len(part)
    except EOFError as error:
        raise Incomplete("compressed stream is cut short", path=path, remedy="Wait, or copy it again.") from error
    except (zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Corrupt(f"compressed stream is damaged ({error})", path=path, remedy="Copy the file again.") from error
    return b"".join(parts)


def _skip(stream: IO[bytes], end: int, path: str) -> int:
    """Read on to `end` without keeping anything; return the position reached."""
    position = stream.tell()
    while position < end and (part := _read_some(stream, min(_CHUNK, end - position), path)):
        position += len(part)
    return position


def _to_pixels(stream: BinaryIO, compressed: str, header: MrcHeader) -> None:
    if compressed:
        _skip(stream, header.data_offset, header.path)
    else:
        stream.seek(header.data_offset)


def _inflate(stream: IO[bytes], header: MrcHeader) -> bytearray:
    """Grow with what really comes out, never by what the header promises."""
    raw = bytearray()
    wanted = header.file_bytes - header.data_offset
    while len(raw) < wanted:
        part = _read_some(stream, min(_CHUNK, wanted - len(raw)), header.path)
        if not part:
            raise _short(header, header.data_offset + len(raw))
        raw += part
    return raw


def _read_plain(stream: BinaryIO, header: MrcHeader) -> Array:
    size = header.file_bytes - header.data_offset
    stored = np.empty(size, np.uint8)
    got = 0
    view = memoryview(stored.data)
    while got < size and (count := cast(io.BufferedReader, stream).readinto(view[got:])):
        got += count
    if got < size:
        raise _short(header, header.data_offset + got)
    return stored if header.packed else stored.view(header.dtype)


def _wanted_type(header: MrcHeader, dtype: DTypeLike | None) -> np.dtype[Any]:
    native = header.dtype.newbyteorder("=")
    wanted = native if dtype is None else np.dtype(dtype)
    if native.kind == "c" and wanted.kind != "c":
        raise Unsupported(
            f"pixels are complex, {wanted} was asked for", path=header.path, where="offset 12",
            remedy="Pass dtype=np.complex64, or transform the file back first.",
        )  # fmt: skip
    return wanted


def _arranged(stored: Array, header: MrcHeader, wanted: np.dtype[Any]) -> Array:
    sections, rows, columns = header.stored_shape
    if header.packed:
        stored = unpack_nibbles(stored.reshape(sections, rows, (columns + 1) // 2), columns)
    shaped = stored.reshape(header.stored_shape).transpose(_axes_to_zyx(header))
    return np.ascontiguousarray(shaped, dtype=wanted)


def _axes_to_zyx(header: MrcHeader) -> tuple[int, int, int]:
    """Axis of the stored (sections, rows, columns) that is z, y, x."""
    columns, rows, sections = header.axis_order
    place = {sections: 0, rows: 1, columns: 2}
    return (place[3], place[2], place[1])
