"""Writing MRC2014 files that other programs read; ``mrc`` re-exports ``write``, reading is there."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import InvalidInput
from cryoframe.formats.mrc_header import MODE_OF_NAME, MODES, MrcHeader, Triple, build_header, parse_header

Path_ = str | os.PathLike[str]
Array = NDArray[Any]


def write(
    path: Path_,
    array: Array,
    *,
    pixel_size_A: float | Triple,
    mode: str | None = "float32",
    is_stack: bool = False,
    origin_A: Triple = (0.0, 0.0, 0.0),
    n_start: tuple[int, int, int] = (0, 0, 0),
) -> MrcHeader:
    """Write an MRC2014 file at exactly `path`; renaming and syncing are the store's affair.

    Parameters
    ----------
    path
        Written in place, an existing file is replaced.
    array
        `(z, y, x)` or `(y, x)`.
    pixel_size_A
        One size for all axes, or (x, y, z).
    mode
        ``float32``, ``float16``, ``int8``, ``int16``, ``uint16`` or ``complex64``; None keeps the array's own type.
    is_stack
        The z axis counts images (space group 0); a 2-D `array` is always an image.
    origin_A, n_start
        (x, y, z).

    Returns
    -------
    The header as :func:`read_header` would return it.

    Raises
    ------
    InvalidInput
        Not two or three non-empty axes, a value the mode cannot hold, or a pixel size that is not positive.
    """
    data = array[np.newaxis] if array.ndim == 2 else array
    if data.ndim != 3 or 0 in data.shape:
        raise InvalidInput(f"array of shape {array.shape}", expected="(z, y, x) or (y, x), no axis empty")
    name = mode or array.dtype.name
    if name not in MODE_OF_NAME:
        raise InvalidInput(f"mode {name!r}", expected=f"one of {', '.join(MODE_OF_NAME)}")
    sizes = (pixel_size_A,) * 3 if isinstance(pixel_size_A, int | float) else tuple(pixel_size_A)
    if len(sizes) != 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
        raise InvalidInput(f"pixel size {pixel_size_A} Å", expected="finite and positive")
    stored = _cast(data, MODE_OF_NAME[name])
    head = build_header(
        data.shape,
        MODE_OF_NAME[name],
        pixel_size_A=(float(sizes[0]), float(sizes[1]), float(sizes[2])),
        is_stack=is_stack or array.ndim == 2,
        statistics=_statistics(stored),
        origin_A=origin_A,
        n_start=n_start,
    )
    with Path(path).open("wb") as stream:
        stream.write(head)
        for section in stored:
            stream.write(np.ascontiguousarray(section).data)
    return parse_header(head, path=str(path))


def _cast(data: Array, mode: int) -> Array:
    target = np.dtype("<" + MODES[mode])
    if data.dtype == target:
        return data
    if (data.dtype.kind == "c") != (target.kind == "c"):
        raise InvalidInput(f"{data.dtype} pixels cannot be written as {target}", expected="both real or both complex")
    if target.kind in "iu":
        limits = np.iinfo(target)
        low, high = data.min(), data.max()
        if not (low >= limits.min and high <= limits.max) or (data.dtype.kind == "f" and np.any(data != np.rint(data))):
            raise InvalidInput(
                f"pixels from {low} to {high} do not all fit {target}", expected="whole numbers in range"
            )
    with np.errstate(over="ignore"):
        cast_data = data.astype(target)
    if target == np.float16 and not np.array_equal(np.isfinite(cast_data), np.isfinite(data)):
        raise InvalidInput("pixels beyond ±65504 do not fit float16", remedy="Scale the array, or write mode float32.")
    return cast_data


def _statistics(stored: Array) -> tuple[float, float, float, float]:
    """Min, max, mean, rms in float64, section by section.

    Complex and not-finite pixels have none, which MRC2014 writes as max < min, mean < both, rms < 0.
    """
    if stored.dtype.kind == "c" or not all(np.isfinite(section).all() for section in stored):
        return (0.0, -1.0, -2.0, -1.0)
    n = stored.size
    mean = sum(float(section.sum(dtype=np.float64)) for section in stored) / n
    squares = sum(float(np.square(section.astype(np.float64) - mean).sum()) for section in stored)
    return (float(stored.min()), float(stored.max()), mean, math.sqrt(squares / n))
