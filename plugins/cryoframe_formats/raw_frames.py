"""What a recording gives, checked before it is written: as many frames as said, their shape, counts that fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cryoframe import Recording
from cryoframe.errors import InvalidInput

_Item = TypeVar("_Item")
_MAX_FRAMES = 100_000
_MAX_SIDE_PX = 200_000


def check_recording(recording: Recording, dtypes: Iterable[str]) -> None:
    """Refuse a recording that no file of the kind can be made of.

    Raises
    ------
    InvalidInput
        No frames, an absurd shape, a pixel type not in `dtypes`, a pixel size that is none.
    """
    known = tuple(dtypes)
    if recording.dtype not in known:
        raise InvalidInput(f"{recording.kind} frames of {recording.dtype}", expected=f"one of {', '.join(known)}")
    if not 1 <= recording.n_frames <= _MAX_FRAMES:
        raise InvalidInput(f"a movie of {recording.n_frames} frames", expected=f"1 to {_MAX_FRAMES}")
    if not all(1 <= edge <= _MAX_SIDE_PX for edge in recording.shape_px):
        raise InvalidInput(f"frames of {recording.shape_px} pixels", expected=f"edges of 1 to {_MAX_SIDE_PX}")
    if not 0.0 < recording.pixel_size_A < 1e6:
        raise InvalidInput(f"a pixel of {recording.pixel_size_A} Å", expected="more than 0")


def stored_frames(recording: Recording) -> Iterator[NDArray[Any]]:
    """Yield the frames `(ny, nx)` in the file's type, little-endian, row 0 first.

    Raises
    ------
    InvalidInput
        A frame of another shape, with counts that its type cannot hold, or fewer or more frames than announced.
    """
    target = np.dtype(recording.dtype).newbyteorder("<")
    for index, frame in enumerate(exactly(recording.frames, recording.n_frames)):
        if frame.shape != recording.shape_px:
            raise InvalidInput(
                f"frame {index + 1} has the shape {frame.shape}", expected=f"{recording.shape_px} as announced"
            )
        yield _fitted(frame, target, index)


def exactly(items: Iterable[_Item], n_frames: int) -> Iterator[_Item]:
    """Yield the items; InvalidInput where they are not `n_frames`."""
    n_given = 0
    for item in items:
        n_given += 1
        if n_given > n_frames:
            raise InvalidInput(f"more than {n_frames} frames were given", expected=f"{n_frames} as announced")
        yield item
    if n_given < n_frames:
        raise InvalidInput(f"{n_given} frames were given", expected=f"{n_frames} as announced")


def _fitted(frame: NDArray[Any], target: np.dtype[Any], index: int) -> NDArray[Any]:
    if frame.dtype == target or not frame.size:
        return frame
    if frame.dtype.kind not in "biuf":
        raise InvalidInput(f"frame {index + 1} holds {frame.dtype}", expected="real numbers")
    if target.kind == "f":
        with np.errstate(over="ignore"):
            cast = frame.astype(target)
        if frame.dtype.itemsize > target.itemsize and not np.array_equal(np.isfinite(cast), np.isfinite(frame)):
            raise _beyond(frame, target, index)
        return cast
    limits = np.iinfo(target)
    low, high = frame.min(), frame.max()
    if not (low >= limits.min and high <= limits.max):
        raise _beyond(frame, target, index)
    if frame.dtype.kind == "f" and np.any(frame != np.rint(frame)):
        raise InvalidInput(f"frame {index + 1} holds fractions", expected=f"whole numbers for {target.name}")
    return frame.astype(target)


def _beyond(frame: NDArray[Any], target: np.dtype[Any], index: int) -> InvalidInput:
    return InvalidInput(
        f"frame {index + 1} holds values from {frame.min()} to {frame.max()}",
        expected=f"what {target.name} can hold",
        remedy="Record in a wider type, or with a lower dose.",
    )
