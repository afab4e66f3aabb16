"""What the alignment of a movie tells of itself, for reports and alarms; how alike frames are is found in numerics."""

from __future__ import annotations

import numpy as np

from cryoframe import Movie, StageContext
from cryoframe.numerics.motion_jumps import Agreement


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
