"""Sums of a movie's frames along a fitted motion: plain, dose-weighted, even, odd, first; the loops are in numerics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryoframe import Micrograph, Movie, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.numerics.fourier import fourier_crop
from cryoframe.numerics.motion import Dose
from cryoframe.numerics.motion_dose import N_CURVE, weighted_sums
from cryoframe.numerics.motion_sum import MovedSums, block_centres, combined
from cryoframe.numerics.patch_motion import Fit
from cryoframe_motion.held import Held

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How often the frames are gone through: read, looked at twice, summed.
N_PASSES = 4
#: Frames that are summed between two reports.
_AT_ONCE = 8


@dataclass(frozen=True)
class Wanted:
    """Which sums are wanted, and how."""

    bin_factor: float
    dose_weighting: bool
    pre_dose_e_A2: float
    halves: bool
    first_frames: int


def summed(
    movie: Movie, held: Held, gain: NDArray[np.float32], fit: Fit, wanted: Wanted, ctx: StageContext
) -> dict[str, Micrograph]:
    """Return micrographs by name: ``plain``, and those that are wanted of ``weighted``, ``even``, ``odd``, ``first``.

    Frames are let go of on the way.
    """
    shape, pixel_A = binned_shape(movie, wanted.bin_factor)
    n_frames, highest = movie.n_frames, float(np.hypot(0.5, 0.5)) / pixel_A
    dose = None
    if wanted.dose_weighting:
        dose = Dose(movie.dose_per_frame_e_A2, wanted.pre_dose_e_A2, movie.optics.voltage_kV)
    split = weighted_sums(dose, n_frames, highest)
    extra = extra_sums(n_frames, wanted)
    sums = MovedSums(shape, np.concatenate([split.frames, *(mask[:, None] for mask in extra.values())], axis=1))
    y, x = block_centres(shape)
    scale = movie.shape_px[1] / shape[1]
    y_A, x_A = (((v + 0.5) * scale - 0.5) * movie.pixel_size_A for v in (y, x))
    shifts = np.moveaxis(fit.shifts_px(*np.meshgrid(x_A, y_A)), 2, 0) / pixel_A
    _add_all(sums, _frames(held, gain, shape), shifts, ctx)
    held.free()
    names = ["plain", *(["weighted"] if dose else []), *extra]
    curves = np.zeros((len(names), sums.totals.shape[0], N_CURVE), dtype=np.float32)
    curves[0, 0] = 1.0
    if dose:
        curves[1, : len(split.curves)] = split.curves
    for i in range(len(extra)):
        curves[i - len(extra), len(split.curves) + i] = 1.0
    images = dict(zip(names, combined(sums, curves, shape, n_threads=ctx.n_threads), strict=True))
    if wanted.halves:
        images["even"] = images["plain"] - images["odd"]
    return {name: micrograph(movie, image, name, wanted) for name, image in images.items()}


def _add_all(
    sums: MovedSums,
    frames: Iterator[tuple[int, NDArray[np.generic], NDArray[np.float32]]],
    shifts: NDArray[np.float64],
    ctx: StageContext,
) -> None:
    for first, some, factor in frames:
        ctx.report((N_PASSES - 1) * len(shifts) + first, N_PASSES * len(shifts), "summing")
        sums.add(some, factor, shifts[first : first + len(some)], first, n_threads=ctx.n_threads)


def extra_sums(n_frames: int, wanted: Wanted) -> dict[str, NDArray[np.float32]]:
    """Weights `(f,)` of the frames in each sum of some of them that is wanted, ``even`` left out."""
    index = np.arange(n_frames)
    masks: dict[str, NDArray[np.float32]] = {}
    if wanted.halves:
        masks["odd"] = (index % 2 == 1).astype(np.float32)
    if wanted.first_frames:
        masks["first"] = (index < wanted.first_frames).astype(np.float32)
    return masks


def binned_shape(movie: Movie, bin_factor: float) -> tuple[tuple[int, int], float]:
    """Return shape and pixel [Å] of the micrograph; sizes are even where anything is binned."""
    if bin_factor == 1.0:
        return movie.shape_px, movie.pixel_size_A
    ny, nx = (2 * round(0.5 * n / bin_factor) for n in movie.shape_px)
    if min(ny, nx) < 2 or abs((movie.shape_px[0] / ny) / (movie.shape_px[1] / nx) - 1.0) > 1e-3:
        raise InvalidInput(
            f"bin_factor = {bin_factor} would make pixels of '{movie.movie_id}' oblong",
            expected=f"a factor that divides {movie.shape_px} into even sizes",
            remedy="Take another bin_factor; 2 turns super-resolution into the camera's own pixels.",
        )
    return (ny, nx), movie.pixel_size_A * movie.shape_px[1] / nx


def _frames(
    held: Held, gain: NDArray[np.float32], shape: tuple[int, int]
) -> Iterator[tuple[int, NDArray[np.generic], NDArray[np.float32]]]:
    """Yield first index, frames, and what they are multiplied by; cropped in Fourier space where pixels are binned."""
    one: NDArray[np.float32] = np.ones((1, 1), dtype=np.float32)
    for first, frames in held.blocks():
        if frames.shape[1:] == shape:
            for i in range(0, len(frames), _AT_ONCE):
                yield first + i, frames[i : i + _AT_ONCE], gain
        else:
            # Electrons of the pixels that become one are added up.
            area = np.float32(frames[0].size / (shape[0] * shape[1]))
            for i, frame in enumerate(frames):
                yield first + i, (fourier_crop(frame * gain, shape) * area).astype(np.float32)[None], one


def micrograph(movie: Movie, image: NDArray[np.float32], name: str, wanted: Wanted) -> Micrograph:
    """Return a sum of the frames, by its name, with its pixel and dose."""
    n, (_, pixel_A) = movie.n_frames, binned_shape(movie, wanted.bin_factor)
    used = {"even": (n + 1) // 2, "odd": n // 2, "first": min(wanted.first_frames, n)}.get(name, n)
    return Micrograph(
        movie.movie_id,
        np.ascontiguousarray(image, dtype=np.float32),
        pixel_A,
        dose_e_A2=used * movie.dose_per_frame_e_A2,
        dose_weighted=name == "weighted",
        optics=movie.optics,
    )
