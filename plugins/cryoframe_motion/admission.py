"""What a movie must have, and whether its gain reference lies right; nothing is corrected here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoframe import Movie, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.numerics.gain_orientation import fit_gain, in_words

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_movie(movie: Movie, *, dose_weighting: bool) -> None:
    """Refuse a movie without frames, pixel or, where it is asked for, dose.

    Raises
    ------
    InvalidInput
        Naming what is missing.
    """
    if not (movie.pixel_size_A > 0 and np.isfinite(movie.pixel_size_A)) or movie.n_frames < 1:
        raise InvalidInput(
            f"movie '{movie.movie_id}' has {movie.n_frames} frames and a pixel of {movie.pixel_size_A} Å",
            expected="at least one frame and a positive pixel",
            remedy="State pixel_size_A in the configuration; look at the file with `cryoframe stage`.",
        )
    if dose_weighting and not (movie.dose_per_frame_e_A2 > 0 and np.isfinite(movie.dose_per_frame_e_A2)):
        raise InvalidInput(
            f"movie '{movie.movie_id}' states a dose of {movie.dose_per_frame_e_A2} e/Å² a frame",
            expected="a dose above 0, as dose weighting needs",
            remedy="State dose_per_frame_e_A2 in the configuration, or set dose_weighting = false.",
        )


def check_gain(movie: Movie, total: NDArray[np.float32] | None, ctx: StageContext) -> NDArray[np.float32]:
    """Return the gain laid on the frames; one pixel of 1 where there is none.

    Parameters
    ----------
    total
        Sum of the uncorrected frames, which the reference is held against; None leaves that out.

    Raises
    ------
    InvalidInput
        The reference has another shape, holds values that are not finite, lies the wrong way round (the right one is
        named), or does not belong to the frames.
    """
    if movie.gain is None:
        return np.ones((1, 1), dtype=np.float32)
    gain: NDArray[np.float32] = np.ascontiguousarray(movie.gain.data, dtype=np.float32)
    if not np.isfinite(gain).all():
        raise InvalidInput(
            "the gain reference holds values that are not finite",
            expected="finite factors",
            remedy="A gain made by dividing needs 0, not infinity, where the camera is dead.",
        )
    lies = gain.shape == movie.shape_px
    if not lies and gain.shape != movie.shape_px[::-1]:
        raise InvalidInput(
            f"the gain reference has shape {gain.shape}, the frames of '{movie.movie_id}' {movie.shape_px}",
            expected="the same shape",
            remedy="Turn or bin the gain reference to the orientation and size of the frames.",
        )
    if total is not None:
        _check_fit(movie, total, gain, ctx)
    if not lies:
        raise InvalidInput(
            f"the gain reference has shape {gain.shape}, the frames of '{movie.movie_id}' {movie.shape_px}",
            expected="the same shape",
            remedy="Turn the gain reference by 90°; which way cannot be told from this movie.",
        )
    return gain


def _check_fit(movie: Movie, total: NDArray[np.float32], gain: NDArray[np.float32], ctx: StageContext) -> None:
    fit = fit_gain(total, gain)
    best = fit.correlations[fit.best]
    ctx.metric("gain_correlation", best)
    name = f"the gain reference {movie.gain.source if movie.gain else ''}".rstrip()
    found = f"correlation {best:.3f} with the frames, {best / max(fit.scatter, 1e-12):.0f} times chance"
    if fit.is_turned:
        raise InvalidInput(
            f"{name} lies the wrong way round on the frames of '{movie.movie_id}'",
            expected=f"the reference {in_words(fit.best)} ({found})",
            remedy=f"Store the reference {in_words(fit.best)}, or set check_gain = false.",
        )
    if fit.is_inverse:
        raise InvalidInput(
            f"{name} is what frames of '{movie.movie_id}' are to be divided by",
            expected="what they are to be multiplied by",
            remedy="Give its inverse, or set check_gain = false.",
        )
    if fit.is_foreign:
        raise InvalidInput(
            f"{name} shows in the frames of '{movie.movie_id}' in no orientation ({found})",
            expected=f"uncorrected frames of the same camera, correlation {fit.expected:.3f}",
            remedy="Leave it out where frames are corrected already, take the camera's own, or set check_gain = false.",
        )
    if not fit.tells:
        ctx.log(f"{name} differs too little between pixels to tell from '{movie.movie_id}' which way round it lies")
