"""Arrays → pictures as PNG bytes: stretching, shrinking, montages. Standard library and numpy only; no files."""

from __future__ import annotations

import base64
import struct
import zlib

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
    blocks = np.asarray(image[: ny * step, : nx * step], dtype=np.float32).reshape(ny, step, nx, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def montage(images: NDArray[np.floating], *, n_columns: int, gap_px: int = 2) -> Grey:
    """Lay out a stack `(n, box, box)` in rows, each image stretched by itself, on white."""
    n, ny, nx = images.shape
    n_rows = -(-n // n_columns)
    sheet = np.full((n_rows * (ny + gap_px) - gap_px, n_columns * (nx + gap_px) - gap_px), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, n_columns)
        top, left = row * (ny + gap_px), column * (nx + gap_px)
        sheet[top : top + ny, left : left + nx] = stretch(image)
    return sheet


def enlarge(image: Grey, factor: int) -> Grey:
    """Repeat each pixel `factor` times along both axes."""
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode an 8-bit grey `(ny, nx)` or RGB `(ny, nx, 3)` image as PNG (ISO/IEC 15948)."""
    ny, nx = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(ny, -1)
    raw = np.concatenate([np.zeros((ny, 1), dtype=np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", nx, ny, 8, 0 if image.ndim == 2 else 2, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 6)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return the image as a ``data:`` address that an HTML page can hold."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
