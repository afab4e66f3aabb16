"""The shift along rows under the name of the one along columns."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "known_answer"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    result = reference.correct_motion(movie, params, ctx)
    x_A, y_A = (result.motion.column(name) for name in ("shift_x_A", "shift_y_A"))
    return replace(result, motion=result.motion.with_columns({"shift_x_A": y_A, "shift_y_A": x_A}))
