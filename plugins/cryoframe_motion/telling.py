"""What the alignment of a movie tells of itself, for reports and alarms; how alike frames are is found in numerics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cryoframe import MotionMetadata, Movie, StageContext
from cryoframe.numerics.motion_jumps import Agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray


def tell_agreement(found: Agreement, movie: Movie, ctx: StageContext) -> None:
    """Report how alike the frames are where they were found, and name those that do not fit."""
    unfit = np.flatnonzero(found.unfit)
    ctx.metric("frame_agreement_frac", found.least)
    ctx.metric("n_frames_unfit", len(unfit))
    if len(unfit):
        frames = ", ".join(str(f) for f in unfit[:12]) + (", …" if len(unfit) > 12 else "")
        ctx.log(
            f"frames {frames} of movie '{movie.movie_id}' do not fit the others where they were put (agreement "
            f"{found.least:.2f} of the usual): the specimen jumped out of reach, or something lay over them"
        )


def metadata_of(
    movie: Movie, defects: NDArray[np.bool_], *, pre_dose_e_A2: float, bin_factor: float = 1.0
) -> MotionMetadata:
    """Say what polishing needs to know of a movie besides its motion."""
    row, column = np.nonzero(defects)
    # Readers of event files say how frames were grouped; others have nothing to say.
    grouped = {
        name: max(int(getattr(movie.source, theirs, least)), least)
        for name, theirs, least in (
            ("n_left_over", "n_left_over", 0),
            ("frames_per_fraction", "frames_per_fraction", 1),
            ("upsampling", "upsampling", 1),
        )
    }
    return MotionMetadata(
        movie=movie.path,
        shape_px=movie.shape_px,
        pixel_size_A=movie.pixel_size_A,
        n_frames=movie.n_frames,
        dose_per_frame_e_A2=movie.dose_per_frame_e_A2,
        pre_dose_e_A2=pre_dose_e_A2,
        voltage_kV=movie.optics.voltage_kV,
        bin_factor=bin_factor,
        gain=movie.gain.source if movie.gain else "",
        defects_px=np.stack([column, row], axis=1).astype(np.int32),
        **grouped,
    )
