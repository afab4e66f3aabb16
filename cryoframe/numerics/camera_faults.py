"""What a camera adds to its frames: gain pattern, defects, pedestal, how files lie; counting noise is not here.

A gain reference is what raw frames are multiplied by. Sizes of the patterns are arguments; their defaults are
assumed, not measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats

Counts = npt.NDArray[np.unsignedinteger]
_Grey = TypeVar("_Grey", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Orientation:
    """What to do to a stored image to lay it on the frames: quarter turns first, then a flip.

    Parameters
    ----------
    quarter_turns
        0 to 3, anticlockwise as shown with row 0 at the top (``numpy.rot90``).
    flipped
        Rows in reverse order afterwards.
    """

    quarter_turns: int = 0
    flipped: bool = False

    def __post_init__(self) -> None:
        if self.quarter_turns not in (0, 1, 2, 3):
            raise InvalidInput(f"{self.quarter_turns} quarter turns were asked for", expected="0, 1, 2 or 3")


def orientations() -> tuple[Orientation, ...]:
    """All eight."""
    return tuple(Orientation(turns, flipped) for flipped in (False, True) for turns in range(4))


def oriented(image: Floats, orientation: Orientation) -> Floats:
    """Lay a stored image `(ny, nx)` on the frames; `(nx, ny)` after an odd number of turns."""
    turned = np.rot90(image, orientation.quarter_turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1, :] if orientation.flipped else turned)


def as_stored(image: Floats, orientation: Orientation) -> Floats:
    """Image as a file holds it that needs `orientation` to be laid on the frames; undoes :func:`oriented`."""
    back = image[..., ::-1, :] if orientation.flipped else image
    return np.ascontiguousarray(np.rot90(back, -orientation.quarter_turns, axes=(-2, -1)))


def gain_reference(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    pixel_sd_frac: float = 0.02,
    column_sd_frac: float = 0.01,
    ramp_frac: float = 0.02,
    n_blocks: int = 8,
    block_sd_frac: float = 0.005,
) -> F32:
    """Gain reference `(ny, nx)` float32 of mean 1: pixels, columns, blocks of readout, and a smooth slope.

    Parameters
    ----------
    shape
        ``(ny, nx)``.
    rng
        Source of randomness.
    pixel_sd_frac, column_sd_frac, block_sd_frac
        Standard deviations of the factors of each pixel, column and vertical block; deviates beyond three are cut.
    ramp_frac
        Largest change along a diagonal.
    n_blocks
        Readout blocks side by side.
    """
    ny, nx = shape
    if min(pixel_sd_frac, column_sd_frac, block_sd_frac) < 0 or ramp_frac < 0 or n_blocks < 1:
        raise InvalidInput(
            "a size of the gain pattern is negative or there is no block", expected="0 or more; 1 or more"
        )

    def deviates(*size: int) -> F32:
        return np.clip(rng.standard_normal(size, dtype=np.float32), -3.0, 3.0)

    pattern = 1.0 + np.float32(pixel_sd_frac) * deviates(ny, nx)
    pattern *= 1.0 + column_sd_frac * deviates(nx)[None, :]
    block = np.arange(nx) * n_blocks // nx
    pattern *= 1.0 + block_sd_frac * deviates(n_blocks)[block][None, :]
    angle = rng.uniform(0.0, 2.0 * np.pi)
    y, x = np.linspace(-0.5, 0.5, ny)[:, None], np.linspace(-0.5, 0.5, nx)[None, :]
    pattern *= (1.0 + ramp_frac * (np.cos(angle) * x + np.sin(angle) * y)).astype(np.float32)
    if float(pattern.min()) <= 0.0:
        raise InvalidInput("the gain pattern reaches zero", expected="sizes well below 1")
    gain: F32 = (pattern / pattern.mean(dtype=np.float64)).astype(np.float32)
    return gain


def raw_from(frame: Floats, gain: Floats) -> F32:
    """Frame as an integrating camera reads it, ``frame / gain``: times the gain it is the frame again."""
    raw: F32 = (frame / gain).astype(np.float32)
    return raw


def raw_counts(counts: Counts, gain: Floats, rng: np.random.Generator) -> Counts:
    """Counts as a camera whose pixels differ in sensitivity writes them: whole numbers, thinned to 1/gain.

    Each count is kept with probability ``gain.min() / gain``, so that raw counts times `gain` are even and stay
    Poisson-like in each pixel. The mean falls by :func:`kept_share`; raise the camera's ``detection_frac`` by its
    inverse to keep the DQE of the preset.

    Parameters
    ----------
    counts
        `(ny, nx)` whole numbers.
    gain
        `(ny, nx)`, above 0.
    rng
        Source of randomness.
    """
    if counts.shape != gain.shape or float(gain.min()) <= 0.0:
        raise InvalidInput(
            f"counts of shape {counts.shape} and a gain of shape {gain.shape} were given, least gain {gain.min()}",
            expected="equal shapes and a gain above 0",
            remedy="Lay the gain on the frames first; repeat it for super-resolution.",
        )
    thinned: Counts = rng.binomial(counts, (gain.min() / gain).astype(np.float64)).astype(counts.dtype)
    return thinned


def kept_share(gain: Floats) -> float:
    """Mean share of the counts that :func:`raw_counts` keeps."""
    return float(np.mean(gain.min() / gain, dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Defects:
    """Pixels that do not work.

    Parameters
    ----------
    dead
        `(ny, nx)`: give nothing.
    hot
        `(m, 2)` rows and columns that give counts of their own.
    hot_counts
        `(m,)` mean counts of each a frame.
    """

    dead: Bools
    hot: npt.NDArray[np.int64]
    hot_counts: F32

    @property
    def mask(self) -> Bools:
        """Dead or hot, `(ny, nx)`: what a defect map holds."""
        mask: Bools = self.dead.copy()
        mask[self.hot[:, 0], self.hot[:, 1]] = True
        return mask


def draw_defects(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    n_pixels: int = 50,
    n_columns: int = 1,
    n_hot: int = 20,
    hot_counts: float = 50.0,
) -> Defects:
    """Defects of a sensor: single pixels, whole columns, and hot pixels with exponentially distributed strength."""
    ny, nx = shape
    if min(n_pixels, n_columns, n_hot) < 0 or n_pixels + n_hot > ny * nx or n_columns > nx:
        raise InvalidInput(
            f"{n_pixels} dead pixels, {n_columns} dead columns and {n_hot} hot pixels were asked for",
            expected=f"numbers from 0 that fit on {ny} × {nx} pixels",
        )
    places = rng.choice(ny * nx, n_pixels + n_hot, replace=False)
    dead = np.zeros(shape, dtype=np.bool_)
    dead.ravel()[places[:n_pixels]] = True
    dead[:, rng.choice(nx, n_columns, replace=False)] = True
    hot = np.stack(np.unravel_index(places[n_pixels:], shape), axis=1).astype(np.int64)
    return Defects(dead, hot, rng.exponential(hot_counts, n_hot).astype(np.float32))


def with_defects(frame: npt.NDArray[_Grey], defects: Defects, rng: np.random.Generator) -> npt.NDArray[_Grey]:
    """Copy of a raw frame with its dead pixels at 0 and its hot ones brighter; whole numbers do not overflow."""
    if frame.shape != defects.dead.shape:
        raise InvalidInput(f"a frame of shape {frame.shape} was given", expected=f"{defects.dead.shape} as the defects")
    faulty = np.where(defects.dead, 0, frame).astype(np.float64)
    rows, columns = defects.hot.T
    faulty[rows, columns] += np.where(defects.dead[rows, columns], 0, rng.poisson(defects.hot_counts))
    if frame.dtype.kind in "iu":
        faulty = np.minimum(faulty, float(2 ** (8 * frame.dtype.itemsize - (frame.dtype.kind == "i")) - 1))
    whole: npt.NDArray[_Grey] = faulty.astype(frame.dtype)
    return whole


@dataclass(frozen=True, slots=True)
class Pedestal:
    """What an integrating camera reads without electrons.

    Parameters
    ----------
    level_grey
        Mean of frame 0.
    row_sd_grey, column_sd_grey
        Fixed pattern of rows and columns.
    drift_grey
        Standard deviation of the change from one frame to the next (a random walk).
    """

    level_grey: float = 100.0
    row_sd_grey: float = 0.5
    column_sd_grey: float = 1.0
    drift_grey: float = 0.2

    def frames(self, shape: tuple[int, int], n_frames: int, rng: np.random.Generator) -> Iterator[F32]:
        """Yield the pedestal `(ny, nx)` float32 of each frame."""
        ny, nx = shape
        rows = self.row_sd_grey * rng.standard_normal(ny)[:, None]
        columns = self.column_sd_grey * rng.standard_normal(nx)[None, :]
        steps = self.drift_grey * rng.standard_normal(n_frames)
        steps[:1] = 0.0
        pattern = self.level_grey + rows - rows.mean() + columns - columns.mean()
        for offset in np.cumsum(steps):
            yield (pattern + offset).astype(np.float32)
