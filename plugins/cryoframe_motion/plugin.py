"""correct_motion ``global``: whole-frame alignment and dose weighting; the arithmetic is in ``numerics.motion``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cryoframe import CorrectedMicrograph, Micrograph, MotionTable, Movie, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics import motion
from cryoframe.numerics.bounds import check_bounds, check_order
from cryoframe.numerics.motion_jumps import Agreement
from cryoframe_motion.telling import metadata_of, tell_agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Params:
    """What may be set."""

    resolution_A: float = 6.0  #: finest spacing used to align
    low_A: float = 500.0  #: coarsest spacing used to align
    b_factor_A2: float = 150.0  #: the larger, the less fine detail counts in the alignment
    max_shift_A: float = 60.0  #: largest shift looked for in one iteration
    n_iterations: int = 12  #: at most so many rounds of alignment
    n_running: int = 3  #: odd number of neighbouring frames that are aligned together
    dose_weighting: bool = True  #: weigh frames by what their exposure has left of the signal
    pre_dose_e_A2: float = 0.0  #: exposure of the specimen before the first frame
    defect_sd: float = 8.0  #: pixels of the sum that stand out by more than this many deviations are mended
    memory_MB: float = 3000.0  #: movies larger than this are read three times instead of held in memory

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            resolution_A=(0.5, 200.0),
            low_A=(1.0, 10000.0),
            b_factor_A2=(0.0, 10000.0),
            max_shift_A=(0.1, 5000.0),
            n_iterations=(0, 1000),
            n_running=(1, 999),
            pre_dose_e_A2=(0.0, 1000.0),
            defect_sd=(1.0, 1000.0),
            memory_MB=(0.0, 1e7),
        )
        check_order(self, "resolution_A", "low_A")


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    """Align whole frames, sum them with and without dose weighting, report the shifts."""
    _check(movie)
    total_steps = 2 * movie.n_frames + 1
    frames = _held(movie, params.memory_MB)
    plain_sum, n_frames = motion.sum_frames(frames)
    if n_frames != movie.n_frames:
        raise InvalidInput(
            f"movie '{movie.movie_id}' gave {n_frames} frames", expected=f"{movie.n_frames} as it announces"
        )
    shape = (int(plain_sum.shape[0]), int(plain_sum.shape[1]))
    defects = motion.find_defects(plain_sum, n_sigma=params.defect_sd)
    sources = motion.mending_sources(defects, ctx.rng)
    ctx.metric("n_defects", int(defects.sum()))

    def sound(first_step: int, message: str) -> Iterator[NDArray[np.float32]]:
        for i, frame in enumerate(frames()):
            ctx.report(first_step + i, total_steps, message)
            yield motion.mend(frame, defects, sources)

    alignment = motion.Alignment(
        resolution_A=params.resolution_A,
        low_A=params.low_A,
        b_factor_A2=params.b_factor_A2,
        max_shift_A=params.max_shift_A,
        n_iterations=params.n_iterations,
        n_running=params.n_running,
    )
    pixel_A = movie.pixel_size_A
    found = motion.estimate_shifts(sound(0, "aligning"), shape, pixel_A, alignment, n_threads=ctx.n_threads)
    shifts = found.shifts_px
    tell_agreement(found.agreement, movie, ctx)
    dose = _dose(movie, params, ctx)
    plain, weighted = motion.sum_aligned(
        sound(n_frames, "summing"), shifts, pixel_A, dose=dose, n_threads=ctx.n_threads
    )
    ctx.metric("total_motion_A", float(np.hypot(*np.diff(shifts, axis=0).T).sum()) * pixel_A, "Å")
    ctx.report(total_steps, total_steps, "done")
    unweighted = Micrograph(
        movie.movie_id, plain, pixel_A, dose_e_A2=n_frames * movie.dose_per_frame_e_A2, optics=movie.optics
    )
    table = _table(shifts * pixel_A, found.agreement)
    metadata = metadata_of(movie, defects, pre_dose_e_A2=params.pre_dose_e_A2)
    if dose is None:
        return CorrectedMicrograph(unweighted, table, metadata=metadata)
    micrograph = replace(unweighted, data=weighted, dose_weighted=True)
    return CorrectedMicrograph(micrograph, table, unweighted, metadata=metadata)


def _check(movie: Movie) -> None:
    if not movie.pixel_size_A > 0 or movie.n_frames < 1:
        raise InvalidInput(
            f"movie '{movie.movie_id}' has {movie.n_frames} frames and a pixel of {movie.pixel_size_A} Å",
            expected="at least one frame and a positive pixel",
            remedy="State pixel_size_A in the configuration; look at the file with `cryoframe stage`.",
        )
    if movie.gain is not None and movie.gain.data.shape != movie.shape_px:
        raise InvalidInput(
            f"the gain reference has shape {movie.gain.data.shape}, the frames of '{movie.movie_id}' {movie.shape_px}",
            expected="the same shape",
            remedy="Turn or bin the gain reference to the orientation and size of the frames.",
        )
    if movie.gain is not None and not np.isfinite(movie.gain.data).all():
        raise InvalidInput(
            "the gain reference holds values that are not finite",
            expected="finite factors",
            remedy="A gain made by dividing needs 0, not infinity, where the camera is dead.",
        )


def _held(movie: Movie, memory_MB: float) -> motion.Frames:
    """Return a source of the frames that may be read several times: memory where they fit, else the file."""
    ny, nx = movie.shape_px
    if movie.n_frames * ny * nx * 4 / 1e6 > memory_MB:
        return movie.frames
    held = list(movie.frames())
    return lambda: held


def _dose(movie: Movie, params: Params, ctx: StageContext) -> motion.Dose | None:
    if not params.dose_weighting:
        return None
    if not movie.dose_per_frame_e_A2 > 0:
        ctx.log(f"movie '{movie.movie_id}' states no dose: the sum is not dose-weighted")
        return None
    return motion.Dose(movie.dose_per_frame_e_A2, params.pre_dose_e_A2, movie.optics.voltage_kV)


def _table(shifts_A: NDArray[np.float64], found: Agreement) -> MotionTable:
    n = len(shifts_A)
    whole_frame = np.full(n, np.nan, dtype=np.float32)
    return MotionTable.from_columns(
        {
            "frame": np.arange(n, dtype=np.int32),
            "patch_x_A": whole_frame,
            "patch_y_A": whole_frame,
            "shift_x_A": shifts_A[:, 0].astype(np.float32),
            "shift_y_A": shifts_A[:, 1].astype(np.float32),
            "shift_sd_A": np.where(np.arange(n) == 0, 0.0, np.nan).astype(np.float32),
            "agreement_frac": found.frames.astype(np.float32),
        }
    )
