"""correct_motion ``patch``: whole-frame and local alignment as one smooth field; the arithmetic is in ``numerics``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from cryoframe import CorrectedMicrograph, MotionTable, Movie, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.numerics.bounds import check_bounds, check_order
from cryoframe.numerics.motion_estimate import Estimate, binning, estimate_motion
from cryoframe.numerics.motion_sum import binned
from cryoframe.numerics.patch_motion import Fit
from cryoframe_motion.admission import check_gain, check_movie, mended, regrouped
from cryoframe_motion.held import Held
from cryoframe_motion.settings import Settings
from cryoframe_motion.summing import N_PASSES, Wanted, binned_shape, summed
from cryoframe_motion.telling import metadata_of, tell_agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Params(Settings):
    """What may be set."""

    patches: tuple[int, int] = (5, 5)  #: patches along x and y; (1, 1) aligns whole frames only
    resolution_A: float = 6.0  #: finest spacing used to align
    low_A: float = 200.0  #: coarsest spacing used to align patches
    max_shift_A: float = 60.0  #: largest shift looked for in one round of the first search
    correlation_A: float = 2500.0  #: distance over which local motion is alike
    local_motion_A: float = 3.0  #: local motion that is expected before the movie tells better
    n_running: int = 3  #: odd number of neighbouring frames that are aligned together in the first search
    n_rounds: int = 10  #: at most so many rounds of the joint fit

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_bounds(
            self,
            resolution_A=(0.5, 200.0),
            low_A=(1.0, 10000.0),
            max_shift_A=(0.1, 5000.0),
            correlation_A=(10.0, 1e6),
            local_motion_A=(0.01, 1000.0),
            n_running=(1, 999),
            n_rounds=(1, 1000),
        )
        check_order(self, "resolution_A", "low_A")
        if len(self.patches) != 2 or not all(1 <= n <= 40 for n in self.patches):
            raise InvalidInput(f"patches = {self.patches} was set", expected="1 to 40 each", remedy="Correct patches.")


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    """Align frames and patches, sum them with and without dose weighting, report the shifts."""
    check_movie(movie, dose_weighting=params.dose_weighting)
    movie = regrouped(movie, params.eer_frames, params.eer_upsampling)
    binned_shape(movie, params.bin_factor)
    total_steps = N_PASSES * movie.n_frames
    held = Held(movie, params.memory_MB, lambda i: ctx.report(i, total_steps, "reading"))
    gain = check_gain(movie, held.total, ctx) if params.check_gain else check_gain(movie, None, ctx)
    gain, defects = mended(held, gain, params.defect_sd, ctx)
    fit = _estimated(movie, held, gain, params, ctx)
    _tell(fit, movie, ctx)
    wanted = Wanted(params.bin_factor, params.dose_weighting, params.pre_dose_e_A2, params.halves, params.first_frames)
    sums = summed(movie, held, gain, fit, wanted, ctx)
    ctx.report(total_steps, total_steps, "done")
    return CorrectedMicrograph(
        sums.get("weighted", sums["plain"]),
        motion_table(fit, movie, params.patches),
        sums["plain"] if "weighted" in sums else None,
        sums.get("even"),
        sums.get("odd"),
        sums.get("first"),
        metadata_of(movie, defects, pre_dose_e_A2=params.pre_dose_e_A2, bin_factor=params.bin_factor),
    )


def _estimated(movie: Movie, held: Held, gain: NDArray[np.float32], params: Params, ctx: StageContext) -> Fit:
    n_frames, factor = movie.n_frames, binning(movie.pixel_size_A, params.resolution_A)
    factor = max(1, min(factor, min(movie.shape_px) // 16))
    steps = count(n_frames)

    def small() -> Iterator[NDArray[np.float32]]:
        for _, frame in held.each():
            ctx.report(next(steps), N_PASSES * n_frames, "aligning")
            yield binned(frame, gain, factor)

    # Binning again is cheap, reading again is not.
    kept = None if held.is_held else list(small())
    how = Estimate(
        patches=params.patches[::-1],
        resolution_A=params.resolution_A,
        low_A=params.low_A,
        max_shift_A=params.max_shift_A,
        n_running=params.n_running,
        length_A=params.correlation_A,
        local_A=params.local_motion_A,
        n_rounds=params.n_rounds,
    )
    middle = (np.arange(n_frames, dtype=np.float64) + 0.5) * movie.dose_per_frame_e_A2
    return estimate_motion(
        small if kept is None else lambda: kept,
        (n_frames, movie.shape_px[0] // factor, movie.shape_px[1] // factor),
        factor * movie.pixel_size_A,
        0.5 * (factor - 1) * movie.pixel_size_A,
        how,
        dose_e_A2=np.asarray(middle, dtype=np.float64) if movie.dose_per_frame_e_A2 > 0 else None,
        voltage_kV=movie.optics.voltage_kV,
        n_threads=ctx.n_threads,
    )


def _tell(fit: Fit, movie: Movie, ctx: StageContext) -> None:
    """Numbers for reports; lengths of the fit are Å."""
    places = fit.prior.places_A
    local = fit.shifts_px(places[:, 0], places[:, 1]) - fit.whole_px
    ctx.metric("total_motion_A", float(np.hypot(*np.diff(fit.whole_px, axis=0).T).sum()), "Å")
    ctx.metric("local_motion_A", float(np.sqrt((local[:, -1] ** 2).sum(axis=-1).mean())), "Å")
    ctx.metric("motion_sd_A", float(np.sqrt((fit.sd_px[:, 1:] ** 2).mean())) if len(fit.whole_px) > 1 else 0.0, "Å")
    ctx.metric("worst_patch_sd_A", float(fit.sd_px[:, 1:].max(initial=0.0)), "Å")
    ctx.metric("n_patches_doubted", int((fit.trust < 0.5).sum()))
    if fit.agreement is not None:
        tell_agreement(fit.agreement, movie, ctx)


def motion_table(fit: Fit, movie: Movie, patches: tuple[int, int]) -> MotionTable:
    """Shifts of whole frames (the mean over the patches), and of the centres of patches where there are several."""
    n_x, n_y = patches
    ny, nx = movie.shape_px
    x = np.tile(((np.arange(n_x) + 0.5) * nx / n_x - 0.5) * movie.pixel_size_A, n_y)
    y = np.repeat(((np.arange(n_y) + 0.5) * ny / n_y - 0.5) * movie.pixel_size_A, n_x)
    n_frames = len(fit.whole_px)
    shifts, deviations = fit.whole_px[None], fit.whole_sd_px[None]
    agreed = np.ones(n_frames) if fit.agreement is None else fit.agreement.frames
    if n_x * n_y > 1:
        shifts = np.concatenate([shifts, fit.shifts_px(x, y)])
        deviations = np.concatenate([deviations, fit.sd_px])
    else:
        x = y = np.empty(0)
    return MotionTable.from_columns(
        {
            "frame": np.tile(np.arange(n_frames, dtype=np.int32), len(shifts)),
            "patch_x_A": np.repeat(np.append(np.nan, x), n_frames).astype(np.float32),
            "patch_y_A": np.repeat(np.append(np.nan, y), n_frames).astype(np.float32),
            "shift_x_A": shifts[..., 0].ravel().astype(np.float32),
            "shift_y_A": shifts[..., 1].ravel().astype(np.float32),
            "shift_sd_A": deviations.ravel().astype(np.float32),
            "agreement_frac": np.tile(agreed, len(shifts)).astype(np.float32),
        }
    )
