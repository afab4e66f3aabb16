"""correct_motion ``relion_own``: RELION's own motion correction; the movie is handed over in ``handover``.

References
----------
Zivanov et al., IUCrJ 6, 5 (2019), doi:10.1107/S205225251801463X; the algorithm is that of Zheng et al., Nat. Methods
14, 331 (2017), doi:10.1038/nmeth.4193.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cryoframe import CorrectedMicrograph, Micrograph, MotionTable, Movie, StageContext, hookimpl
from cryoframe.errors import InvalidInput
from cryoframe.external import Command, Done, Program
from cryoframe.formats import mrc
from cryoframe.formats.star_motion import MotionRecords, motion_from_star
from cryoframe.numerics.bounds import check_bounds
from cryoframe_relion.handover import GAIN, STAR, hand_over

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAM: Final = Program(
    "relion_run_motioncorr",
    find=("relion_run_motioncorr",),
    version=("--version", r"RELION version:\s*([\w.]+)"),
    citation="doi:10.1107/S205225251801463X",
    tested=("3.1.3",),
    install="Install RELION (Debian: `apt install relion`; else https://relion.readthedocs.io) and put it on the PATH.",
)
OUT: Final = "out"
_STEPS: Final = 3


@dataclass(frozen=True)
class Params:
    """What may be set."""

    patches: tuple[int, int] = (5, 5)  #: patches along x and y; (1, 1) aligns whole frames only
    b_factor_px2: float = 150.0  #: [px²] the larger, the less fine detail counts in the alignment
    bin_factor: float = 1.0  #: factor by which the micrograph's pixels are larger than the movie's
    group_frames: int = 1  #: frames that are averaged before they are aligned
    max_iterations: int = 5  #: at most so many rounds of alignment
    dose_weighting: bool = True  #: weigh frames by what their exposure has left of the signal
    pre_dose_e_A2: float = 0.0  #: exposure of the specimen before the first frame
    link_movie: bool = True  #: let RELION read the user's own file where it can; else frames are written for it
    executable: str = ""  #: path of relion_run_motioncorr where it is not on the PATH
    timeout_s: float = 7200.0  #: RELION is ended after this

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            b_factor_px2=(0.0, 1e5),
            bin_factor=(1.0, 16.0),
            group_frames=(1, 1000),
            max_iterations=(1, 1000),
            pre_dose_e_A2=(0.0, 1000.0),
            timeout_s=(1.0, 1e6),
        )
        if not all(1 <= n <= 100 for n in self.patches):
            raise InvalidInput(f"patches = {self.patches} was set", expected="1 to 100 each", remedy="Correct patches.")


@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    """Align frames and patches with RELION, sum them with and without dose weighting, report the shifts."""
    _check(movie)
    ctx.report(0, _STEPS, "handing the movie over")
    name = hand_over(movie, ctx.workdir, link=params.link_movie)
    weighted = is_weighted(movie, params)
    if params.dose_weighting and not weighted:
        ctx.log(f"movie '{movie.movie_id}' states no dose: the sum is not dose-weighted")
    done = PROGRAM.at(params.executable).run(
        build(movie, params, n_threads=ctx.n_threads),
        workdir=ctx.workdir,
        timeout_s=params.timeout_s,
        is_cancelled=lambda: _asked(ctx),
        on_log=ctx.log,
    )
    ctx.report(2, _STEPS, "reading RELION's results")
    stem = f"{OUT}/{Path(name).stem}"
    ctx.log(done.text(f"{stem}.log"))
    records = motion_from_star(done.path(f"{stem}.star"))
    motion = parse(records, movie, params)
    path_px = np.hypot(np.diff(records.shift_x_px), np.diff(records.shift_y_px)).sum()
    ctx.metric("total_motion_A", float(path_px) * movie.pixel_size_A, "Å")
    unweighted = Micrograph(
        movie.movie_id,
        _image(done, f"{stem}_noDW.mrc" if weighted else f"{stem}.mrc", movie),
        movie.pixel_size_A * params.bin_factor,
        dose_e_A2=movie.n_frames * movie.dose_per_frame_e_A2,
        optics=movie.optics,
    )
    ctx.report(_STEPS, _STEPS, "done")
    if not weighted:
        return CorrectedMicrograph(unweighted, motion)
    micrograph = replace(unweighted, data=_image(done, f"{stem}.mrc", movie), dose_weighted=True)
    return CorrectedMicrograph(micrograph, motion, unweighted)


def is_weighted(movie: Movie, params: Params) -> bool:
    """Whether RELION is asked to weigh frames by dose: only where the dose is known."""
    return params.dose_weighting and movie.dose_per_frame_e_A2 > 0


def build(movie: Movie, params: Params, *, n_threads: int = 1) -> Command:
    """Return RELION's arguments for a movie that was handed over; all names are below the work folder."""
    n_x, n_y = params.patches
    argv = ["--i", STAR, "--o", f"{OUT}/", "--use_own", "--j", str(n_threads)]
    argv += ["--patch_x", str(n_x), "--patch_y", str(n_y), "--bfactor", f"{params.b_factor_px2:g}"]
    argv += ["--bin_factor", f"{params.bin_factor:g}", "--group_frames", str(params.group_frames)]
    argv += ["--max_iter", str(params.max_iterations), "--preexposure", f"{params.pre_dose_e_A2:g}"]
    if movie.dose_per_frame_e_A2 > 0:
        argv += ["--dose_per_frame", f"{movie.dose_per_frame_e_A2:g}"]
    if is_weighted(movie, params):
        argv += ["--dose_weighting", "--save_noDW"]
    if movie.gain is not None:
        argv += ["--gainref", GAIN]
    return Command(tuple(argv))


def parse(records: MotionRecords, movie: Movie, params: Params) -> MotionTable:
    """Return the shifts that RELION applied: of whole frames and, where it fitted a local model, of patch centres too.

    RELION's sign is ours (CONVENTIONS C07); its local model is what was applied after the whole-frame shift, so that a
    patch's shift is the sum of both.

    Raises
    ------
    InvalidInput
        If RELION read another number of frames, or frames of another shape, than the movie has.
    """
    if (records.n_frames, *records.shape_px) != (movie.n_frames, *movie.shape_px):
        raise InvalidInput(
            f"RELION read {records.n_frames} frames of {records.shape_px} from movie '{movie.movie_id}'",
            expected=f"{movie.n_frames} of {movie.shape_px}",
            remedy="Set link_movie = false: the frames are then written for it as our reader sees them.",
        )
    if not np.array_equal(records.frame, np.arange(movie.n_frames)):
        raise InvalidInput(
            f"RELION has shifts of frames {records.frame.tolist()}", expected=f"each of the {movie.n_frames} frames"
        )
    shifts_px = np.stack([records.shift_x_px, records.shift_y_px])
    tracks = [(np.nan, np.nan, shifts_px)]
    if records.model is not None:
        time = records.frame.astype(np.float64)
        for x_px, y_px in patch_centres_px(movie.shape_px, params.patches):
            local = records.model_shift_px(time, np.full_like(time, x_px), np.full_like(time, y_px))
            tracks.append((x_px, y_px, shifts_px + np.stack(local)))
    return _table(tracks, movie.pixel_size_A)


def patch_centres_px(shape_px: tuple[int, int], patches: tuple[int, int]) -> list[tuple[float, float]]:
    """Return (x, y) of the patches' centres, row by row, in pixels from the centre of pixel [0, 0]."""
    ny, nx = shape_px
    n_x, n_y = patches
    return [((ix + 0.5) * nx / n_x - 0.5, (iy + 0.5) * ny / n_y - 0.5) for iy in range(n_y) for ix in range(n_x)]


def _table(tracks: list[tuple[float, float, NDArray[np.float64]]], pixel_size_A: float) -> MotionTable:
    n_frames = tracks[0][2].shape[1]
    shifts = np.concatenate([shifts_px for _, _, shifts_px in tracks], axis=1)
    pixel_A = np.float64(pixel_size_A)
    return MotionTable.from_columns(
        {
            "frame": np.tile(np.arange(n_frames, dtype=np.int32), len(tracks)),
            "patch_x_A": np.repeat([x_px * pixel_A for x_px, _, _ in tracks], n_frames).astype(np.float32),
            "patch_y_A": np.repeat([y_px * pixel_A for _, y_px, _ in tracks], n_frames).astype(np.float32),
            "shift_x_A": (shifts[0] * pixel_A).astype(np.float32),
            "shift_y_A": (shifts[1] * pixel_A).astype(np.float32),
        }
    )


def _check(movie: Movie) -> None:
    if not movie.pixel_size_A > 0 or movie.n_frames < 1:
        raise InvalidInput(
            f"movie '{movie.movie_id}' has {movie.n_frames} frames and a pixel of {movie.pixel_size_A} Å",
            expected="at least one frame and a positive pixel",
            remedy="State pixel_size_A in the configuration; look at the file with `cryoframe stage`.",
        )
    gain = movie.gain
    if gain is not None and (gain.data.shape != movie.shape_px or not np.isfinite(gain.data).all()):
        raise InvalidInput(
            f"the gain reference has shape {gain.data.shape}, the frames of '{movie.movie_id}' {movie.shape_px}",
            expected="the same shape, and finite factors",
            remedy="Turn or bin the gain reference to the orientation and size of the frames.",
        )


def _asked(ctx: StageContext) -> bool:
    """Say that RELION is still at work; the report raises when the call was asked to stop."""
    ctx.report(1, _STEPS, "RELION aligns")
    return ctx.cancelled()


def _image(done: Done, name: str, movie: Movie) -> NDArray[np.float32]:
    pixels, _ = mrc.read_image(done.path(name))
    image: NDArray[np.float32] = np.ascontiguousarray(pixels, np.float32)
    if not np.isfinite(image).all():
        raise InvalidInput(
            f"RELION's sum of movie '{movie.movie_id}' holds values that are not finite",
            expected="finite pixels in the movie and its gain",
            remedy="Look at the frames with `cryoframe stage`.",
        )
    return image
