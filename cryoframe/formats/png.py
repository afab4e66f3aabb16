"""Arrays → 8-bit pictures → PNG bytes: averaging down, stretching, encoding. Standard library and numpy; no files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def stretch(image: NDArray[np.floating], *, low_frac: float = 0.005, high_frac: float = 0.995) -> Grey:
    """Map the values between two quantiles to 0…255.

    Parameters
    ----------
    image
        `(ny, nx)`, any finite values; others become black.
    low_frac, high_frac
        Quantiles that become black and white.

    Returns
    -------
    `(ny, nx)` uint8.
    """
    values = np.asarray(image, dtype=np.float32)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = np.quantile(finite, [low_frac, high_frac])
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / max(float(high - low), 1e-12)
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)


def shrink(image: NDArray[np.floating], max_px: int) -> NDArray[np.float32]:
    """Average blocks of pixels until neither edge is longer than `max_px`; what does not fill a block is cut off."""
    step = max(1, -(-max(image.shape) // max_px))
    ny, nx = image.shape[0] // step, image.shape[1] // step
    rows = np.empty((ny, nx), dtype=np.float32)
    for row in range(ny):  # a strip at a time: the image may be a file, and larger than the memory at hand
        strip = np.asarray(image[row * step : (row + 1) * step, : nx * step], dtype=np.float32)
        rows[row] = strip.sum(axis=0, dtype=np.float32).reshape(nx, step).sum(axis=1)
    return np.asarray(rows / np.float32(step * step), dtype=np.float32)


def png(image: NDArray[np.uint8], *, palette: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """Encode a picture as PNG (ISO/IEC 15948).

    Parameters
    ----------
    image
        `(ny, nx)` uint8 grey, or indices where there is a palette; `(ny, nx, 3)` uint8 RGB.
    palette
        Up to 256 colours.
    """
    ny, nx = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(ny, -1)
    raw = np.concatenate([np.zeros((ny, 1), dtype=np.uint8), rows], axis=1).tobytes()
    colour_type = 3 if palette else 0 if image.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", nx, ny, 8, colour_type, 0, 0, 0)
    colours = _chunk(b"PLTE", bytes(value for colour in palette for value in colour)) if palette else b""
    body = _chunk(b"IHDR", header) + colours + _chunk(b"IDAT", zlib.compress(raw, 6)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
