"""Frames of a movie that do not fit the others: jumps found and undone, what is left told; registration is elsewhere.

A stage that jumps while a movie is taken leaves two parts that each agree within themselves, so that no frame by itself
tells of it. Parts are therefore held against the rest of the movie: the frames before each cut, and each frame alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryoframe.numerics.alignment import frame_shifts, phase_ramps
from cryoframe.numerics.backend import C64, F32, Bools, Reals
from cryoframe.numerics.fourier import irfft2

#: Specimens move by less than this from what is known already; what seems to have moved farther has to stand out.
LIKELY_A = 15.0
#: A part is moved where it agrees with the rest better than it does in place by so many deviations, ...
_BEYOND_CHANCE = 5.0
#: ... and where that is likelier than the odds against any one of all places and parts, times the exponential of this.
_DOUBT = 3.0
#: Frames that agree with the others by so many deviations of chance can be aligned one by one.
_CLEAR = 6.0
#: Correlations of as many neighbours are summed as stand out together by so many.
_STEADY = 9.0
#: Jumps that are looked for one after the other.
_MOST_JUMPS = 6
#: Cuts of movies of more frames are looked at in steps.
_MOST_CUTS = 64
#: A part that agrees by less than this share of what is usual, and by so many deviations, does not fit.
_UNFIT, _SURE = 0.5, 3.0


@dataclass(frozen=True, slots=True)
class Search:
    """How frames are looked for.

    Parameters
    ----------
    max_shift_px, n_iterations, tolerance_px, n_running
        As in :func:`cryoframe.numerics.alignment.frame_shifts`.
    likely_px
        Translations farther than this in one round, and jumps, have to stand out of chance.
    jumps
        Whether jumps are looked for, over the whole frame.
    """

    max_shift_px: float
    likely_px: float
    n_iterations: int = 8
    tolerance_px: float = 0.25
    n_running: int = 3
    jumps: bool = True


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike frames are where they were found, 1 being the mean of all pairs of them.

    Parameters
    ----------
    frames
        `(f,)` mean over its pairs with the others, of each frame.
    cuts
        `(f − 1,)` mean over the pairs of a frame before and one after each cut.
    sd_frames, sd_cuts
        Their standard deviations by chance; 1 is not told from 0 where they are large.
    """

    frames: Reals
    cuts: Reals
    sd_frames: Reals
    sd_cuts: Reals

    @property
    def least(self) -> float:
        """Least agreement of any frame with the others or across any cut, two deviations granted; 1 at most."""
        bounds = np.concatenate([self.frames + 2.0 * self.sd_frames, self.cuts + 2.0 * self.sd_cuts])
        return float(bounds.min(initial=1.0))

    @property
    def unfit(self) -> Bools:
        """Frames `(f,)` that do not fit: by themselves, or as the smaller part of a cut that does not."""
        unfit: Bools = (self.frames < _UNFIT) & (self.frames + _SURE * self.sd_frames < 1.0)
        if len(self.cuts):
            s = int(self.cuts.argmin())
            if self.cuts[s] < _UNFIT and self.cuts[s] + _SURE * self.sd_cuts[s] < 1.0:
                part = slice(0, s + 1) if 2 * (s + 1) <= len(unfit) else slice(s + 1, None)
                unfit[part] = True
        return unfit


def jumps(shifts_px: Reals, longest_px: float) -> Reals:
    """Part of the translations `(f, 2)` that is steps longer than `longest_px`: zero at first, constant between."""
    steps = np.diff(shifts_px, axis=0)
    long = np.hypot(*steps.T) > longest_px
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps * long[:, None], axis=0)])


@dataclass(frozen=True, slots=True)
class Frames:
    """Spectra of frames `(f, ny, nx//2 + 1)`, raw half layout, (ny, nx) of the real ones, weights of frequencies."""

    spectra: C64
    shape: tuple[int, int]
    weights: F32

    def moved(self, shifts_px: Reals) -> C64:
        """Spectra of the frames moved by `(f, 2)`."""
        moved: C64 = self.spectra * phase_ramps(self.shape, shifts_px)
        return moved

    def likeness(self, shifts_px: Reals) -> float:
        """Sum over frequencies of the weighted power of the sum; that of the frames does not change as they move."""
        total = self.moved(shifts_px).sum(axis=0)
        return float((self.weights * (total.real**2 + total.imag**2)).sum(dtype=np.float64))

    def aligned(self, start_px: Reals | None, how: Search) -> Reals:
        """Drift of the frames."""
        found: Reals = frame_shifts(
            self.spectra, self.shape, weights=self.weights, max_shift_px=how.max_shift_px,
            n_iterations=how.n_iterations, tolerance_px=how.tolerance_px, n_running=how.n_running, start_px=start_px,
            likely_px=how.likely_px,
        )  # fmt: skip
        return found

    def followed(self, start_px: Reals | None, how: Search) -> Reals:
        """Drift of the frames, those found that sums of neighbours hold in a wrong place beside a jump."""
        found = self.aligned(start_px, how)
        if how.n_running == 1 or not _each_tells(agreement(self, found)):
            return found
        change = self.aligned(found, replace(how, n_running=1, n_iterations=min(how.n_iterations, 4))) - found
        change -= np.median(change, axis=0)
        held = np.hypot(*change.T) > 0.5 * how.likely_px
        return self.aligned(found + held[:, None] * change, how) if held.any() else found


def agreement(frames: Frames, shifts_px: Reals) -> Agreement:
    """Hold frames against each other where they were found, by translations `(f, 2)` (dx, dy)."""
    n = len(frames.spectra)
    if n < 2:
        return Agreement(np.ones(n), np.ones(0), np.zeros(n), np.zeros(0))
    weight = frames.weights.reshape(-1)
    moved = frames.moved(shifts_px).reshape(n, -1)
    weighted = moved * weight
    pairs = (weighted @ moved.conj().T).real.astype(np.float64)
    np.fill_diagonal(pairs, 0.0)
    # Products of independent noise scatter by the root of half the sum of the products of powers.
    power = (moved.real**2 + moved.imag**2).mean(axis=0, dtype=np.float64)
    noise = float(np.sqrt(0.5 * ((weight * power) ** 2).sum()))
    mean = max(float(pairs.sum()) / (n * (n - 1)), noise / np.sqrt(0.5 * n * (n - 1)), 1e-30)
    before = np.arange(1, n)
    across = np.array([pairs[:s, s:].sum() for s in before])
    n_across = (before * (n - before)).astype(np.float64)
    return Agreement(
        pairs.sum(axis=1) / ((n - 1) * mean),
        across / (n_across * mean),
        np.full(n, noise / (np.sqrt(n - 1) * mean)),
        noise / (np.sqrt(n_across) * mean),
    )


def deviation(frames: Frames, shifts_px: Reals, n_running: int) -> float:
    """Standard deviation [px] by noise of the shift of a frame along one axis, correlations of neighbours being summed.

    That of the place of a peak: of the slope of the correlation there, over how strongly it bends. Infinite where the
    frames share nothing.
    """
    n = len(frames.spectra)
    moved = frames.moved(shifts_px)
    total = moved.sum(axis=0)
    power = (moved.real**2 + moved.imag**2).mean(axis=0, dtype=np.float64)
    summed = (total.real**2 + total.imag**2).astype(np.float64)
    squared = (np.fft.fftfreq(frames.shape[0])[:, None] ** 2 + np.fft.rfftfreq(frames.shape[1]) ** 2) * 2.0 * np.pi**2
    bend = float((frames.weights * squared * (summed / n - power)).sum())
    rest = summed * (1.0 - 2.0 / n) + power
    noise = float(np.sqrt(0.5 * (frames.weights.astype(np.float64) ** 2 * squared * power * rest).sum()))
    return noise / bend / np.sqrt(2.0 / 3.0 * (n_running + 1.0) if n_running > 1 else 1.0) if bend > 0.0 else np.inf


@dataclass(frozen=True, slots=True)
class Found:
    """Translations `(f, 2)` (dx, dy) [px] of mean zero; of how many neighbours correlations were summed, 0: nothing."""

    shifts_px: Reals
    n_running: int


def search(frames: Frames, how: Search, *, start_px: Reals | None = None, n_threads: int = 1) -> Found:
    """Find frames wherever they are in the field, those beyond a jump included.

    Parameters
    ----------
    frames
        Small ones.
    how
        Settings.
    start_px
        `(f, 2)` first estimate.

    Notes
    -----
    Correlations of neighbouring frames are summed, of the more frames the less they tell; where all frames together
    tell nothing, nothing moves. Frames that stand out of chance by themselves are then aligned one by one as well, and
    those that a sum held in a wrong place beside a jump are taken from there. Jumps of many frames are undone one at a
    time, the clearest first; frames are aligned anew after each, and kept as they were where that makes them less
    alike.
    """
    if not how.jumps or len(frames.spectra) < 2:
        return Found(frames.aligned(start_px, how), how.n_running)
    shifts = frames.followed(start_px, how)
    if not _each_tells(agreement(frames, shifts)):
        how, shifts = _steadied(frames, how, start_px)
    if not _is_evident(agreement(frames, shifts), how):
        return Found(np.zeros_like(shifts), 0)
    for _ in range(_MOST_JUMPS):
        jump = _clearest_jump(frames, frames.moved(shifts), how.likely_px, n_threads)
        if jump is None:
            break
        other = frames.followed(shifts + jump, how)
        if frames.likeness(other) <= frames.likeness(shifts):
            break
        shifts = other
    return Found(shifts, how.n_running)


def _steadied(frames: Frames, how: Search, start_px: Reals | None) -> tuple[Search, Reals]:
    """Sum correlations of as many neighbours as stand out of chance together, found on sums that noise hardly moves."""
    n = len(frames.spectra)
    wide = replace(how, n_running=max(how.n_running, 2 * (n // 6) + 1))
    clear = max(_clearness(agreement(frames, frames.aligned(start_px, wide))), 0.5)
    # A triangle of n weights keeps 2/3 (n + 1) independent values.
    n_running = 2 * int(np.ceil(0.75 * (_STEADY / clear) ** 2 - 0.5)) + 1
    how = replace(how, n_running=min(max(how.n_running, n_running), n))
    return how, frames.followed(start_px, how)


def _is_evident(found: Agreement, how: Search) -> bool:
    """Whether frames are more alike than noise is where it seems most alike, each sum of frames being free to move."""
    n = len(found.frames)
    free = 2.0 * n / (how.n_running + 1.0) * np.log(max(np.pi * how.likely_px**2, 2.0))
    deviations = np.sqrt(0.5 * n) * float(found.frames.mean()) / max(float(found.sd_frames.mean()), 1e-30)
    return bool(0.5 * deviations * abs(deviations) > 1.5 * free + _DOUBT)


def _clearness(found: Agreement) -> float:
    """By how many deviations of chance a typical frame agrees with the others."""
    return float(np.median(found.frames / np.maximum(found.sd_frames, 1e-30)))


def _each_tells(found: Agreement) -> bool:
    """Whether most frames stand out of chance by themselves, so that they can be aligned one by one."""
    return _clearness(found) > _CLEAR


def _clearest_jump(frames: Frames, moved: C64, likely_px: float, n_threads: int) -> Reals | None:
    """Translations `(f, 2)` that undo the jump that stands out most; None where none does."""
    n, shape = len(moved), frames.shape
    step = -(-(n - 1) // _MOST_CUTS)
    total, before = moved.sum(axis=0), np.zeros_like(moved[0])
    distance = np.hypot(np.fft.fftfreq(shape[0], 1.0 / shape[0])[:, None], np.fft.fftfreq(shape[1], 1.0 / shape[1]))
    near = distance <= max(likely_px, 1.0)
    best: tuple[float, Bools, Reals] | None = None
    for f in range(n):
        before += moved[f]
        parts = [(np.arange(n) == f, moved[f])]
        if f < n - 1 and (f + 1) % step == 0:
            parts.append((np.arange(n) <= f, before))
        for mask, part in parts:
            evidence, shift = _displaced(frames, part, total - part, near, n_threads)
            if evidence > np.log(2.0 * n * distance.size) + _DOUBT and (best is None or evidence > best[0]):
                best = evidence, mask, shift
    if best is None:
        return None
    return best[1][:, None] * best[2]


def _displaced(frames: Frames, part: C64, rest: C64, near: Bools, n_threads: int) -> tuple[float, Reals]:
    """Logarithm of the odds that a part belongs elsewhere rather than nearby, and the translation (dx, dy)."""
    shape = frames.shape
    place = irfft2((frames.weights * (rest * part.conj())).astype(np.complex64), shape, n_threads=n_threads)
    spread = max(float(place.std()), 1e-30)
    at = int(place.argmax())
    far, here = float(place.reshape(-1)[at]) / spread, float(place[near].max()) / spread
    y, x = (i if i <= size // 2 else i - size for i, size in zip(np.unravel_index(at, shape), shape, strict=True))
    evidence = 0.5 * (far**2 - here * abs(here)) if far - here > _BEYOND_CHANCE else -np.inf
    return evidence, np.array([x, y], dtype=np.float64)
