"""correct_motion ``global``: whole-frame alignment and dose weighting; the arithmetic is in ``numerics.motion``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryoframe import CorrectedMicrograph, MotionTable, Movie, StageContext, hookimpl
from cryoframe.numerics import motion
from cryoframe.numerics.bounds import check_bounds, check_order
from cryoframe_motion.admission import check_gain, check_movie, mended, regrouped
from cryoframe_motion.held import Held
from cryoframe_motion.settings import Settings
from cryoframe_motion.summing import Wanted, binned_shape, extra_sums, micrograph
from cryoframe_motion.telling import metadata_of, tell_agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Params(Settings):
    """What may be set."""

    resolution_A: float = 6.0  #: finest spacing used to align
    low_A: float = 500.0  #: coarsest spacing used to align
    b_factor_A2: float = 150.0  #: the larger, the less fine detail counts in the alignment
    max_shift_A: float = 60.0  #: largest shift looked for in one iteration
    n_iterations: int = 12  #: at most so many rounds of alignment
    n_running: int = 3  #: odd number of neighbouring frames that are aligned together

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_bounds(
            self,
            resolution_A=(0.5, 200.0),
            low_A=(1.0, 10000.0),
            b_factor_A2=(0.0, 10000.0),
            max_shift_A=(0.1, 5000.0),
            n_iterations=(0, 1000),
            n_running=(1, 999),
        )
        check_order(self, "resolution_A", "low_A")


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    """Align whole frames, sum them with and without dose weighting, report the shifts."""
    check_movie(movie, dose_weighting=False)
    movie = regrouped(movie, params.eer_frames, params.eer_upsampling)
    shape, _ = binned_shape(movie, params.bin_factor)
    n_frames = movie.n_frames
    total_steps = 3 * n_frames + 1
    held = Held(movie, params.memory_MB, lambda i: ctx.report(i, total_steps, "reading"))
    gain = check_gain(movie, held.total if params.check_gain else None, ctx)
    gain, defects = mended(held, gain, params.defect_sd, ctx)

    def sound(first_step: int, message: str) -> Iterator[NDArray[np.float32]]:
        for i, frame in held.each():
            ctx.report(first_step + i, total_steps, message)
            yield frame.astype(np.float32) * gain

    alignment = motion.Alignment(
        resolution_A=params.resolution_A,
        low_A=params.low_A,
        b_factor_A2=params.b_factor_A2,
        max_shift_A=params.max_shift_A,
        n_iterations=params.n_iterations,
        n_running=params.n_running,
    )
    pixel_A = movie.pixel_size_A
    found = motion.estimate_shifts(
        sound(n_frames, "aligning"), movie.shape_px, pixel_A, alignment, n_threads=ctx.n_threads
    )
    tell_agreement(found.agreement, movie, ctx)
    ctx.metric("total_motion_A", float(np.hypot(*np.diff(found.shifts_px, axis=0).T).sum()) * pixel_A, "Å")
    dose = _dose(movie, params, ctx)
    wanted = Wanted(params.bin_factor, dose is not None, params.pre_dose_e_A2, params.halves, params.first_frames)
    extra = extra_sums(n_frames, wanted)
    chosen = np.array(list(extra.values()), dtype=np.bool_) if extra else None
    sums = motion.sum_aligned(
        sound(2 * n_frames, "summing"), found.shifts_px, pixel_A, dose=dose, chosen=chosen, n_threads=ctx.n_threads
    )
    held.free()
    spectra = {"plain": sums.plain, "weighted": sums.weighted} | dict(zip(extra, sums.extra, strict=True))
    if dose is None:
        del spectra["weighted"]
    if wanted.halves:
        spectra["even"] = sums.plain - spectra["odd"]
    made = {
        name: micrograph(movie, sums.image(ft, shape, n_threads=ctx.n_threads), name, wanted)
        for name, ft in spectra.items()
    }
    ctx.report(total_steps, total_steps, "done")
    return CorrectedMicrograph(
        made.get("weighted", made["plain"]),
        _table(found, pixel_A),
        made["plain"] if "weighted" in made else None,
        made.get("even"),
        made.get("odd"),
        made.get("first"),
        metadata_of(movie, defects, pre_dose_e_A2=params.pre_dose_e_A2, bin_factor=params.bin_factor),
    )


def _dose(movie: Movie, params: Params, ctx: StageContext) -> motion.Dose | None:
    if not params.dose_weighting:
        return None
    if not movie.dose_per_frame_e_A2 > 0:
        ctx.log(f"movie '{movie.movie_id}' states no dose: the sum is not dose-weighted")
        return None
    return motion.Dose(movie.dose_per_frame_e_A2, params.pre_dose_e_A2, movie.optics.voltage_kV)


def _table(found: motion.WholeMotion, pixel_size_A: float) -> MotionTable:
    shifts_A = found.shifts_px * pixel_size_A
    n = len(shifts_A)
    whole_frame = np.full(n, np.nan, dtype=np.float32)
    return MotionTable.from_columns(
        {
            "frame": np.arange(n, dtype=np.int32),
            "patch_x_A": whole_frame,
            "patch_y_A": whole_frame,
            "shift_x_A": shifts_A[:, 0].astype(np.float32),
            "shift_y_A": shifts_A[:, 1].astype(np.float32),
            "shift_sd_A": (found.sd_px * pixel_size_A).astype(np.float32),
            "agreement_frac": found.agreement.frames.astype(np.float32),
        }
    )
