"""A movie's frames read once and held in the smallest type that keeps them, or read again where they are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from cryoframe import Movie
from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import native

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES = (np.uint8, np.uint16, np.float32)
#: Share of a frame's pixels at its very largest value from which on the camera is taken to be saturated.
_SATURATED_FRAC = 0.05


class Held:
    """Frames without gain, defects mended; `total` is their sum as read.

    Parameters
    ----------
    movie
        With a reader attached.
    memory_MB
        Of frames that are held; larger movies are read again each time they are gone through.
    said
        Told how many frames have been read.
    """

    def __init__(self, movie: Movie, memory_MB: float, said: Callable[[int], None]) -> None:
        if movie.source is None:
            raise InvalidInput(
                f"movie '{movie.movie_id}' has no reader attached", remedy="Open it with cryoframe.open_movie(path)."
            )
        self._movie, self._source, self._room = movie, movie.source, memory_MB * 1e6
        self._frames: NDArray[np.generic] | None = self._new(_TYPES[0])
        self._defects = self._sources = np.empty(0, dtype=np.int64)
        self.total: NDArray[np.float32] = np.zeros(movie.shape_px, dtype=np.float32)
        for index in range(movie.n_frames):
            said(index)
            self._take(index, self._read(index))

    def _new(self, dtype: type[np.generic]) -> NDArray[np.generic] | None:
        shape = (self._movie.n_frames, *self._movie.shape_px)
        n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.empty(shape, dtype=dtype) if n_bytes <= self._room else None

    def _read(self, index: int) -> NDArray[np.float32]:
        frame: NDArray[np.float32] = np.ascontiguousarray(self._source.read_frame(index), dtype=np.float32)
        name = f"frame {index} of movie '{self._movie.movie_id}'"
        if frame.shape != self._movie.shape_px:
            raise InvalidInput(f"{name} has shape {frame.shape}", expected=f"{self._movie.shape_px} as announced")
        return frame

    def _take(self, index: int, frame: NDArray[np.float32]) -> None:
        """Add a frame to the sum and hold it, in a wider type than those before where that is needed."""
        lost, highest = _kept(None if self._frames is None else self._frames[index], self.total, frame)
        name = f"frame {index} of movie '{self._movie.movie_id}'"
        counts = self._frames is not None and self._frames.dtype.kind in "iu" and not lost
        if not np.isfinite(highest) or not (counts or np.isfinite(float(frame.min()))):
            raise InvalidInput(
                f"{name} holds values that are not finite",
                expected="finite counts",
                remedy="Look at the frame with `cryoframe stage`; the file may be damaged.",
            )
        if highest in (255.0, 32767.0, 65535.0) and float((frame == highest).mean()) > _SATURATED_FRAC:
            raise InvalidInput(
                f"{name} is saturated: more than {_SATURATED_FRAC:.0%} of its pixels are {highest:g}",
                expected="counts below the largest that the file can hold",
                remedy="Leave the movie out; expose less, or write the file with more bits.",
            )
        before = self._frames
        if not lost or before is None:
            return
        for dtype in _TYPES[_TYPES.index(before.dtype.type) + 1 :]:
            self._frames = self._new(dtype)
            if self._frames is None:
                return
            self._frames[:index] = before[:index]
            if not _kept(self._frames[index], np.zeros_like(frame), frame)[0]:
                return

    @property
    def is_held(self) -> bool:
        """Whether frames are in memory."""
        return self._frames is not None

    def mend(self, defects: NDArray[np.bool_], sources: NDArray[np.integer]) -> None:
        """Replace each defect by the value of its source pixel (flat index), in all frames."""
        self._defects, self._sources = np.flatnonzero(defects), np.asarray(sources, dtype=np.int64)
        if self._frames is not None:
            for frame in self._frames:
                flat = frame.reshape(-1)
                flat[self._defects] = flat[self._sources]

    def blocks(self) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield the first index and the frames `(f, ny, nx)`: all that are held, or one after the other."""
        if self._frames is not None:
            yield 0, self._frames
            return
        for index in range(self._movie.n_frames):
            frame = self._read(index)
            flat = frame.reshape(-1)
            flat[self._defects] = flat[self._sources]
            yield index, frame[None]

    def each(self) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield index and frame `(ny, nx)`."""
        for first, frames in self.blocks():
            for i, frame in enumerate(frames):
                yield first + i, frame

    def free(self) -> None:
        """Give the memory back."""
        self._frames = None


def _kept(out: NDArray[np.generic] | None, total: NDArray[np.float32], frame: NDArray[np.float32]) -> tuple[int, float]:
    """Store a frame where there is room, add it to the sum; how many values are lost, and the largest."""
    module = native(np, "motion_sum")
    if out is None or out.dtype == np.float32 or module is None:
        total += frame
        if out is None:
            return 0, float(frame.max())
        out[...] = np.nan_to_num(frame) if out.dtype.kind in "iu" else frame
        return int((out.astype(np.float32) != frame).sum()), float(frame.max())
    lost, highest = module.keep(out.reshape(-1), total.reshape(-1), frame.reshape(-1))
    return int(lost), float(frame.max()) if lost else float(highest)
