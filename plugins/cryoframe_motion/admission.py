"""What a movie must have, and whether its gain reference lies right; nothing is corrected here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from cryoframe import FrameSource, Movie, StageContext
from cryoframe.errors import InvalidInput
from cryoframe.numerics import motion
from cryoframe.numerics.gain_orientation import fit_gain, in_words
from cryoframe_motion.held import Held

if TYPE_CHECKING:
    from numpy.typing import NDArray


class EventFile(FrameSource, Protocol):
    """What readers of event files hand out besides frames."""

    @property
    def frames_per_fraction(self) -> int:
        """Frames of the file that make one."""

    @property
    def upsampling(self) -> int:
        """Pixels to one of the sensor, along each axis."""

    def grouped(self, frames_per_fraction: int | None = None) -> EventFile:
        """Return the same movie with other frames."""


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


def regrouped(movie: Movie, eer_frames: int, eer_upsampling: int) -> Movie:
    """Return a movie of events with other frames or finer pixels, dose and gain with them; others as they are.

    Raises
    ------
    InvalidInput
        The movie does not consist of events, or its file has not so many frames.
    """
    source = movie.source
    if eer_frames == 0 and eer_upsampling == 1:
        return movie
    if source is None or not hasattr(source, "grouped"):
        raise InvalidInput(
            f"movie '{movie.movie_id}' was to be grouped from events (eer_frames = {eer_frames}, eer_upsampling = "
            f"{eer_upsampling})",
            expected="an event file (EER)",
            remedy="Leave eer_frames and eer_upsampling out for movies of frames.",
        )
    if eer_upsampling not in (1, 2, 4):
        raise InvalidInput(f"eer_upsampling = {eer_upsampling} was set", expected="1, 2 or 4")
    events: EventFile = source  # type: ignore[assignment]
    new = events.grouped(eer_frames) if eer_frames else events
    finer = eer_upsampling / events.upsampling
    new = replace(new, upsampling=eer_upsampling)  # type: ignore[type-var]
    gain = movie.gain
    if gain is not None and gain.data.shape != new.shape_px and finer > 1:
        # Each part of a pixel is amplified as the pixel is.
        data = np.repeat(np.repeat(gain.data, int(finer), axis=0), int(finer), axis=1)
        gain = replace(gain, data=np.ascontiguousarray(data))
    return replace(
        movie,
        n_frames=new.n_frames,
        shape_px=new.shape_px,
        pixel_size_A=movie.pixel_size_A / finer,
        dose_per_frame_e_A2=movie.dose_per_frame_e_A2 * new.frames_per_fraction / events.frames_per_fraction,
        gain=gain,
        source=new,
    )


def mended(
    held: Held, gain: NDArray[np.float32], defect_sd: float, ctx: StageContext
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Find defects in the corrected sum, mend frames and gain alike; the gain, and where defects are."""
    defects = motion.find_defects(held.total if gain.size == 1 else held.total * gain, n_sigma=defect_sd)
    sources = motion.mending_sources(defects, ctx.rng)
    ctx.metric("n_defects", int(defects.sum()))
    held.mend(defects, sources)
    if gain.size == 1:
        return gain, defects
    whole = gain.copy()
    whole[defects] = gain.reshape(-1)[sources]
    return whole, defects


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
