"""From checked TIFF pages to pixels: uncompressed, LZW and deflate strips with or without predictor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, Incomplete, Unsupported
from cryoframe_formats.tiff_ifd import BITS, COMPRESSION, PREDICTOR, SAMPLE_FORMAT, Page

MAX_FRAME_BYTES: Final = 2**30
MAX_RATIO: Final = 4200
"""LZW codes of 12 bits cannot stand for more than 4 096 bytes each, deflate stays below 1 032 : 1."""

_NONE, _LZW, _DEFLATE, _DEFLATE_OLD, _PACKBITS = 1, 5, 8, 32946, 32773
_DECODERS: Final[dict[int, Callable[..., Any]]] = {
    _LZW: imagecodecs.lzw_decode,
    _DEFLATE: imagecodecs.zlib_decode,
    _DEFLATE_OLD: imagecodecs.zlib_decode,
    _PACKBITS: imagecodecs.packbits_decode,
}


def check_decodable(page: Page, path: str) -> None:
    """Refuse compressions, pixel types and sizes that cannot be decoded, before anything is allocated.

    Raises
    ------
    Unsupported
        Compression, predictor or pixel type is not read here.
    Corrupt
        The strips cannot hold as many pixels as the page claims.
    """
    where = f"frame {page.number + 1}"
    compression, predictor = page.integer(COMPRESSION, 1), page.integer(PREDICTOR, 1)
    bits, kind = page.integer(BITS, 1), page.integer(SAMPLE_FORMAT, 1)
    if compression != _NONE and compression not in _DECODERS:
        raise Unsupported(f"compression {compression}", path=path, where=where, expected="none, LZW, deflate, PackBits")
    if predictor not in (1, 2, 3) or (compression == _NONE and predictor != 1):
        raise Unsupported(f"predictor {predictor}", path=path, where=where, expected="1, 2 or 3")
    if (kind, bits) not in {(1, 8), (1, 16), (1, 32), (2, 8), (2, 16), (2, 32), (3, 16), (3, 32), (3, 64), (4, 8)}:
        raise Unsupported(
            f"{bits} bits of sample format {kind}", path=path, where=where, expected="8 or 16 bit integers, or floats"
        )
    rows, columns = page.shape_px
    needed = rows * columns * page.dtype.itemsize
    stored = sum(size for _, size in page.strips)
    most = stored if compression == _NONE else stored * MAX_RATIO
    if needed > min(most, MAX_FRAME_BYTES):
        raise Corrupt(
            f"{where} claims {needed} bytes of pixels from {stored} stored ones", path=path, where=where,
            expected=f"at most {min(most, MAX_FRAME_BYTES)}", remedy="Copy the file again.",
        )  # fmt: skip


def read_page(stream: BinaryIO, page: Page, path: str) -> NDArray[Any]:
    """Decode one frame in the file's row order, `(rows, columns)`, stored type, native byte order.

    Raises
    ------
    Corrupt
        A strip cannot be decoded or yields another number of bytes than it must.
    """
    rows, columns = page.shape_px
    frame = np.empty((rows, columns), page.dtype.newbyteorder("="))
    top = 0
    for number in range(len(page.strips)):
        height = min(page.rows_per_strip, rows - top)
        raw = strip_bytes(stream, page, number, path)
        frame[top : top + height] = _strip(raw, page, (height, columns), (number, path))
        top += height
    return frame


def strip_bytes(stream: BinaryIO, page: Page, number: int, path: str) -> bytes:
    """Read one stored strip; Incomplete where the file has become shorter since its pages were checked."""
    offset, size = page.strips[number]
    stream.seek(offset)
    raw = stream.read(size)
    if len(raw) < size:
        where = f"frame {page.number + 1}, offset {offset}"
        raise Incomplete("the file has become shorter", path=path, where=where, expected=f"{size} bytes there")
    return raw


def _strip(raw: bytes, page: Page, shape: tuple[int, int], place: tuple[int, str]) -> NDArray[Any]:
    needed = shape[0] * shape[1] * page.dtype.itemsize
    compression = page.integer(COMPRESSION, 1)
    try:
        data = raw[:needed] if compression == _NONE else bytes(_DECODERS[compression](raw, out=needed))
    except (ValueError, RuntimeError) as error:
        raise _damaged(page, place, f"cannot be decoded ({error})") from error
    if len(data) != needed:
        raise _damaged(page, place, f"yields {len(data)} bytes")
    pixels = np.frombuffer(data, page.dtype).reshape(shape)
    predictor = page.integer(PREDICTOR, 1)
    if predictor == 2:
        native = np.ascontiguousarray(pixels, page.dtype.newbyteorder("="))
        return np.asarray(imagecodecs.delta_decode(native, axis=-1))
    if predictor == 3:
        return np.asarray(imagecodecs.floatpred_decode(pixels, axis=-1))
    return pixels


def _damaged(page: Page, place: tuple[int, str], what: str) -> Corrupt:
    number, path = place
    return Corrupt(
        f"strip {number + 1} {what}",
        path=path,
        where=f"frame {page.number + 1}, offset {page.strips[number][0]}",
        expected="a whole strip of pixels",
        remedy="Copy the movie again; if the original is damaged too, leave it out.",
    )
