"""Motion correction on movies whose motion is known: error, cost, memory and gain of ours and of RELION's own."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cryoframe.bench import movies
from cryoframe.bench.calls import MOTIONCORR, NOT_FOUND, Workbench
from cryoframe.bench.movies import BANDS_A, OPTICS, PIXEL_A, Filmed
from cryoframe.bench.rows import Row, Summary, counted, failure
from cryoframe.bench.sizes import Sizes
from cryoframe.compare.bench import Attempted
from cryoframe.compare.inputs import Given
from cryoframe.compare.truth_scores import motion_errors
from cryoframe.data.images import CorrectedMicrograph
from cryoframe.errors import CryoframeError
from cryoframe.numerics import fourier

HOOK, PEER = "correct_motion", "relion_own"
OURS = ("patch", "global")
#: Edge of the movies the aims for CPU time are for.
LARGE_PX = 4096
#: Aims, for `patch`.
WHOLE_PX, LOCAL_PX, PEAK_MB, TIMES_CHEAPER, TIMES_FFTS = 0.25, 0.5, 1536.0, 4.0, 2.0


@dataclass(frozen=True)
class Outcome:
    """One program's answer for one movie; RMS along x and y [px], gain over the uncorrected sum by band."""

    name: str
    answer: Attempted
    whole_px: NDArray[np.float64]
    local_px: NDArray[np.float64]
    gain: tuple[float, ...]


def n_steps(sizes: Sizes) -> int:
    """How many steps are told."""
    return sum(n for _, n in sizes.movies) * (1 + len(names()))


def names() -> tuple[str, ...]:
    """Whom to run."""
    return (*OURS, PEER) if MOTIONCORR.located() else OURS


def run(bench: Workbench) -> list[Row]:
    """Make the movies one after the other, correct each with all, and return the rows."""
    specimen = bench.specimen("betagal", PIXEL_A)
    edge = bench.sizes.movie_px
    two_ffts_s = _two_ffts_s(edge)
    rows: list[Row] = []
    number = 0
    for n_frames, n_movies in bench.sizes.movies:
        found: list[Outcome] = []
        for _ in range(n_movies):
            folder = bench.folder(f"motion-{number}")
            track = bench.tracks[number % len(bench.tracks)] if bench.tracks else None
            filmed = movies.film(
                folder / f"movie{number}.tiff", specimen, bench.plugins, n_frames=n_frames, edge_px=edge,
                seed=bench.seed + number, track=track, tell=lambda _: None,
            )  # fmt: skip
            bench.tell(f"movie {number + 1} made, {n_frames} × {edge}²")
            found += _corrected(bench, filmed)
            bench.done_with(folder)
            number += 1
        driven = "real tracks" if bench.tracks else "drawn motion"
        what = f"{counted(n_movies, 'movie')} of {n_frames} × {edge}² LZW, {driven}"
        rows += rows_of(found, what, n_frames * two_ffts_s, costs_aimed=edge == LARGE_PX)
    return rows


def _two_ffts_s(edge_px: int) -> float:
    """CPU seconds of the two transforms that a corrected frame needs."""
    image = np.ones((edge_px, edge_px), dtype=np.float32)
    fourier.irfft2(fourier.rfft2(image), image.shape)
    begun = time.process_time()
    for _ in range(3):
        fourier.irfft2(fourier.rfft2(image), image.shape)
    return (time.process_time() - begun) / 3


def _corrected(bench: Workbench, filmed: Filmed) -> list[Outcome]:
    optics = {name: getattr(OPTICS, name) for name in ("voltage_kV", "cs_mm", "amplitude_contrast_frac")}
    given = Given(pixel_size_A=PIXEL_A, dose_per_frame_e_A2=filmed.dose_per_frame_e_A2, optics=optics)
    item = bench.bound(HOOK, [str(filmed.path)], given, filmed.path.stem)
    nothing = np.zeros((filmed.n_frames, 2))
    lone = movies.likeness(filmed.uncorrected, filmed, nothing)
    found = []
    for name in names():
        params = {"patches": [5, 5], "dose_weighting": True} if name == PEER else {}
        (answer,) = bench.ours(HOOK, name, [item], params)
        found.append(_outcome(name, answer, filmed, lone))
        bench.tell(f"{name} {filmed.path.stem}: {answer.message or f'{answer.cpu_s:.1f} CPU s'}")
        if answer.product is not None:
            shutil.rmtree(answer.product.parent, ignore_errors=True)
    return found


def _outcome(name: str, answer: Attempted, filmed: Filmed, lone: Sequence[float]) -> Outcome:
    unknown = np.full(2, np.nan)
    if answer.product is None:
        return Outcome(name, answer, unknown, unknown, ())
    made: CorrectedMicrograph = answer.load()
    errors = motion_errors(made.motion, filmed.truth)
    if errors is None:
        raise CryoframeError(f"{name} reports no motion of the movie's frames")
    whole = np.isnan(made.motion.floats("patch_x_A"))
    shifts = np.stack([made.motion.floats(axis)[whole] for axis in ("shift_x_A", "shift_y_A")], axis=-1) / PIXEL_A
    plain = made.unweighted if made.unweighted is not None else made.micrograph
    alike = movies.likeness(np.asarray(plain.data), filmed, shifts)
    gain = tuple(after / before for after, before in zip(alike, lone, strict=True))
    return Outcome(name, answer, _rms_px(errors.whole_A), _rms_px(errors.local_A), gain)


def _rms_px(error_A: NDArray[np.float64]) -> NDArray[np.float64]:
    """RMS along x and y."""
    return np.asarray(np.sqrt((error_A.reshape(-1, 2) ** 2).mean(axis=0)) / PIXEL_A)


def rows_of(found: Sequence[Outcome], what: str, two_ffts_s: float, *, costs_aimed: bool = True) -> list[Row]:
    """Return the rows of one group of movies; the aims for CPU time are those of the size they were set for."""
    rows: list[Row] = []
    for name in OURS:
        mine = [one for one in found if one.name == name]
        peer = [one for one in found if one.name == PEER]
        failed = "; ".join(
            f"{one.name} on {one.answer.item_id}: {one.answer.message or one.answer.error_class}"
            for one in (*mine, *peer)
            if one.answer.product is None
        )
        rows += failure("motion", f"`{name}`, {what}", failed)
        mine, peer = ([one for one in side if one.answer.product is not None] for side in (mine, peer))
        if mine:
            aims = _Aims(name == OURS[0], name == OURS[0] and costs_aimed)
            rows += _rows(mine, peer, f"`{name}`, {what}", two_ffts_s=two_ffts_s, aims=aims)
    return rows


class _Aims(NamedTuple):
    """Whether anything was aimed at, and whether CPU times were."""

    any: bool
    costs: bool


def _rows(mine: Sequence[Outcome], peer: Sequence[Outcome], what: str, *, two_ffts_s: float, aims: _Aims) -> list[Row]:
    who = "RELION's own, 5 × 5 patches" if MOTIONCORR.located() else NOT_FOUND
    rows = []

    def add(quantity: str, sides: Sequence[tuple[Summary, ...]], aim: str, met: bool | None, **more: object) -> None:
        here, theirs = sides
        aimed = aims.costs if quantity.startswith("CPU") else aims.any
        rows.append(
            Row("motion", what, quantity, here, theirs, who, aim if aimed else "", met if aimed and here else None,
                **more)  # type: ignore[arg-type]
        )  # fmt: skip

    for quantity, attribute, most in (
        ("whole-frame motion against the truth, RMS x / y [px]", "whole_px", WHOLE_PX),
        ("local motion against the truth, RMS x / y [px]", "local_px", LOCAL_PX),
    ):
        sides = [_xy([getattr(one, attribute) for one in side]) for side in (mine, peer)]
        met = all(axis.median <= most for axis in sides[0]) and not _is_worse(*sides)
        add(quantity, sides, f"≤ {most} px, not worse than the peer", met)
    cpu = [_one([one.answer.cpu_s for one in side]) for side in (mine, peer)]
    cheap = cpu[0][0].median * TIMES_CHEAPER <= cpu[1][0].median if all(cpu) else None
    add("CPU s a movie, reading and dose weighting included", cpu, f"≤ 1/{TIMES_CHEAPER:g} of the peer's", cheap)
    add("wall s a movie, one thread", [_one([one.answer.seconds for one in side]) for side in (mine, peer)], "", None)
    peak = [_one([one.answer.peak_MB for one in side]) for side in (mine, peer)]
    add("peak memory [MB]", peak, f"≤ {PEAK_MB:.0f} MB", bool(peak[0]) and peak[0][0].median <= PEAK_MB)
    times = [_one([one.answer.cpu_s / two_ffts_s for one in side]) for side in (mine, peer)]
    add(f"CPU s over those of two FFTs a frame ({two_ffts_s:.1f} s)", times, f"≤ {TIMES_FFTS:g}",
        bool(times[0]) and times[0][0].median <= TIMES_FFTS)  # fmt: skip
    for band, (low, high) in enumerate(BANDS_A):
        gains = [_one([one.gain[band] for one in side]) for side in (mine, peer)]
        add(f"likeness to the specimen over the uncorrected sum's, {low:.0f}–{high:.0f} Å", gains, "", None,
            larger_is_better=True)  # fmt: skip
    return rows


def _one(values: Sequence[float]) -> tuple[Summary, ...]:
    return (Summary.of(values),) if values else ()


def _xy(values: Sequence[NDArray[np.float64]]) -> tuple[Summary, ...]:
    return tuple(Summary.of([float(value[axis]) for value in values]) for axis in (0, 1)) if values else ()


def _is_worse(here: tuple[Summary, ...], peer: tuple[Summary, ...]) -> bool:
    """Whether the error is larger than the peer's by more than a twentieth; medians of a few movies are no finer."""
    if not here or not peer:
        return False
    ours, theirs = (math.hypot(*(axis.median for axis in side)) for side in (here, peer))
    return ours > 1.05 * theirs
