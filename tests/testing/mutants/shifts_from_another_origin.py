"""Its shifts are of the middle of the movie, its sum of the first frame."""

from __future__ import annotations

from dataclasses import replace

from cryoframe import CorrectedMicrograph, Movie, StageContext, hookimpl
from cryoframe_motion import plugin as reference

CAUGHT_BY = "sum_follows_shifts"
Params = reference.Params


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    result = reference.correct_motion(movie, params, ctx)
    shifts = {name: result.motion.column(name) for name in ("shift_x_A", "shift_y_A")}
    moved = {name: values - values[len(values) // 2] for name, values in shifts.items()}
    return replace(result, motion=result.motion.with_columns(moved))
