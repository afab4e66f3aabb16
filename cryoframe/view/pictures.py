"""Pictures for pages and terminals: montages, enlarging, ``data:`` addresses; PNG itself is in ``formats.png``."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from cryoframe.formats.png import Grey, png, shrink, stretch

__all__ = ["Grey", "data_uri", "enlarge", "montage", "png", "shrink", "stretch"]


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


def data_uri(image: NDArray[np.uint8]) -> str:
    """Return the image as a ``data:`` address that an HTML page can hold."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
