"""Whole-frame motion of a movie and the aligned, dose-weighted sum; registration itself is in ``alignment``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage

from cryoframe.errors import InvalidInput
from cryoframe.numerics import motion_jumps
from cryoframe.numerics.alignment import frequency_weights
from cryoframe.numerics.backend import C64, F32, Bools, Ints, Reals, native
from cryoframe.numerics.filters import frame_weights
from cryoframe.numerics.fourier import irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.motion_jumps import LIKELY_A, Agreement, Search, agreement, search
from cryoframe.numerics.spectrum import robust_scale
from cryoframe.numerics.windows import tukey_2d

#: Gives the frames anew each time it is called, `(ny, nx)` float32 each.
Frames = Callable[[], Iterable[F32]]
_N_WEIGHTS = 4096


@dataclass(frozen=True, slots=True)
class Alignment:
    """How frames are registered.

    Parameters
    ----------
    resolution_A
        Finest spacing used; frames are cropped to it.
    low_A
        Coarsest spacing used.
    b_factor_A2
        Weight exp(−B·k²/4) of each frame.
    max_shift_A
        Largest translation looked for in one iteration.
    n_iterations
        At most.
    n_running
        Odd number of neighbouring frames summed to find one frame's place.
    """

    resolution_A: float = 6.0
    low_A: float = 500.0
    b_factor_A2: float = 150.0
    max_shift_A: float = 60.0
    n_iterations: int = 12
    n_running: int = 3


def sum_frames(frames: Frames) -> tuple[F32, int]:
    """Plain sum `(ny, nx)` float32 of all frames, and their number.

    Raises
    ------
    InvalidInput
        There is no frame, frames differ in shape, or one is not finite; the frame is named.
    """
    total, n_frames = np.zeros((0, 0), dtype=np.float32), 0
    for n_frames, frame in enumerate(frames(), start=1):
        if n_frames == 1:
            total = np.zeros(frame.shape, dtype=np.float32)
        if frame.shape != total.shape:
            raise InvalidInput(f"frame {n_frames - 1} has shape {frame.shape}", expected=f"{total.shape} as the first")
        total += frame
        if not np.isfinite(float(frame.sum(dtype=np.float64))):
            raise InvalidInput(
                f"frame {n_frames - 1} holds values that are not finite",
                expected="finite counts",
                remedy="Look for zeros in the gain reference's inverse, or a damaged frame.",
            )
    if not n_frames:
        raise InvalidInput("the movie has no frames", expected="at least one")
    return total, n_frames


def find_defects(total: F32, *, n_sigma: float = 8.0) -> Bools:
    """Pixels of the plain sum that differ from the mean of their surroundings by more than `n_sigma` deviations.

    The surroundings are 5×5 pixels: a particle is wider than that, a hot or dead pixel is not. Candidates differ from
    the mean of the surroundings, in which outliers are clipped; defects from the median of the surroundings too, which
    wide dark areas do not. Whole rows and columns are held against their neighbours.
    """
    middle, scale = robust_scale(total)
    low, high = middle - n_sigma * scale, middle + n_sigma * scale
    # A few strips tell the spread of the differences as well as the whole does.
    strips = [total[y : y + 64] for y in range(0, total.shape[0], max(64, total.shape[0] // 8))]
    centre, spread = robust_scale(np.concatenate([_difference(strip, low, high).ravel() for strip in strips]))
    limit = n_sigma * max(spread, 1e-12)
    defects: Bools = np.zeros(total.shape, dtype=np.bool_)
    defects.reshape(-1)[_unlike(total, (low, high), centre, limit)] = True
    row, column = np.nonzero(defects)
    offsets = np.arange(-2, 3)
    rows = np.clip(row[:, None, None] + offsets[:, None], 0, total.shape[0] - 1)
    columns = np.clip(column[:, None, None] + offsets, 0, total.shape[1] - 1)
    typical = np.median(total[rows, columns].reshape(len(row), -1), axis=1) if len(row) else np.empty(0)
    defects[row, column] = np.abs(total[row, column] - typical) > limit
    if middle > 4.0 * scale:
        # Dead, even where counts are too few for a zero to stand out by itself.
        defects |= total == 0.0
    clipped = np.clip(total, low, high)
    defects |= _odd_lines(clipped, scale, n_sigma, axis=1)[:, None] | _odd_lines(clipped, scale, n_sigma, axis=0)
    return defects


def _odd_lines(total: F32, scale: float, n_sigma: float, *, axis: int) -> Bools:
    """Rows (`axis` 1) or columns (0) whose mean is off that of their neighbours by more than `n_sigma` deviations."""
    profile = total.mean(axis=axis, dtype=np.float64)
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(profile, 4, mode="reflect"), 9), axis=1)
    _, spread = robust_scale(profile - around)
    odd: Bools = np.abs(profile - around) > n_sigma * max(spread, scale / np.sqrt(total.shape[axis]), 1e-12)
    return odd


def _difference(total: F32, low: float, high: float) -> F32:
    """Each pixel against the mean of the 24 around it, in which values are cut at `low` and `high`."""
    clipped = np.clip(total, low, high)
    difference: F32 = total - (scipy.ndimage.uniform_filter(clipped, 5, mode="nearest") * 25.0 - clipped) / 24.0
    return difference


def _unlike(total: F32, cut: tuple[float, float], centre: float, limit: float) -> Ints:
    """Flat indices of pixels whose difference is off `centre` by more than `limit`."""
    module = native(np, "motion_sum")
    if module is None:
        return np.flatnonzero(np.abs(_difference(total, *cut) - centre) > limit)
    room = max(1024, total.size // 64)
    while True:
        found = np.empty(room, dtype=np.int64)
        n = int(module.unlike(found, np.ascontiguousarray(total), *(np.float32(v) for v in (*cut, centre, limit))))
        if n <= room:
            return found[:n]
        room = n


def mend(frame: F32, defects: Bools, source: Ints) -> F32:
    """Return the frame with each defect replaced by the value of its `source` pixel (flat index), noise included."""
    mended = frame.copy()
    mended[defects] = frame.reshape(-1)[source]
    return mended


def mending_sources(defects: Bools, rng: np.random.Generator) -> Ints:
    """Flat index of a sound pixel, within three of it where there is one, for each defect."""
    ny, nx = defects.shape
    sound = ~defects
    y, x = np.nonzero(defects)
    chosen = np.full(len(y), -1, dtype=np.int64)
    for _ in range(64):
        open_ = np.flatnonzero(chosen < 0)
        if not len(open_):
            break
        to_y = np.clip(y[open_] + rng.integers(-3, 4, len(open_)), 0, ny - 1)
        to_x = np.clip(x[open_] + rng.integers(-3, 4, len(open_)), 0, nx - 1)
        good = sound[to_y, to_x]
        chosen[open_[good]] = (to_y * nx + to_x)[good]
    fallback = int(np.flatnonzero(sound.ravel())[0]) if sound.any() else 0
    return np.where(chosen < 0, fallback, chosen)


def reduced_shape(shape: tuple[int, int], pixel_size_A: float, resolution_A: float) -> tuple[int, int]:
    """Even sizes (ny, nx) at which `resolution_A` is 2.2 pixels, never larger than the frame."""
    ratio = min(2.2 * pixel_size_A / resolution_A, 1.0)
    return (max(2 * round(0.5 * shape[0] * ratio), 2), max(2 * round(0.5 * shape[1] * ratio), 2))


def crop_spectrum(ft: C64, shape: tuple[int, int]) -> C64:
    """Low frequencies `(my, mx//2+1)` of a raw half transform, for smaller images of even `shape`; Nyquist set to 0."""
    my, mx = shape
    if my >= ft.shape[0] and mx // 2 + 1 >= ft.shape[1]:
        return ft
    small = np.concatenate([ft[: my // 2, : mx // 2 + 1], ft[ft.shape[0] - my // 2 :, : mx // 2 + 1]])
    small[my // 2] = 0.0
    small[:, mx // 2] = 0.0
    return small


@dataclass(frozen=True, slots=True)
class WholeMotion:
    """Translations of whole frames `(f, 2)` (dx, dy) [px], the first (0, 0), and how alike the frames are then.

    `sd_px` `(f,)` are their standard deviations along an axis by noise, against the first frame.
    """

    shifts_px: Reals
    sd_px: Reals
    agreement: Agreement


def estimate_shifts(
    frames: Iterable[F32], shape: tuple[int, int], pixel_size_A: float, alignment: Alignment, *, n_threads: int = 1
) -> WholeMotion:
    """Translation that undoes the motion of each frame, relative to the first.

    Parameters
    ----------
    frames
        `(ny, nx)` float32 each, without defects.
    shape, pixel_size_A
        Of the frames.
    alignment
        How they are registered.
    n_threads
        Worker threads of the FFT.

    References
    ----------
    Frames against the sum of the others: Grant & Grigorieff, eLife 4, e06980 (2015), doi 10.7554/eLife.06980.
    """
    small_shape = reduced_shape(shape, pixel_size_A, alignment.resolution_A)
    window = tukey_2d(small_shape, 0.1).astype(np.float32)
    small = []
    for frame in frames:
        low = crop_spectrum(rfft2(frame, n_threads=n_threads), small_shape)
        low[0, 0] = 0.0
        # Tapered, because the jump from one border to the other stands still while the specimen moves.
        small.append(rfft2(irfft2(low, small_shape, n_threads=n_threads) * window, n_threads=n_threads))
        del low
    coarse_shape = reduced_shape(shape, pixel_size_A, 2.0 * alignment.resolution_A)
    coarse = _Level(np.stack([crop_spectrum(ft, coarse_shape) for ft in small]), coarse_shape, shape, pixel_size_A)
    shifts_A, n_running = coarse.found(alignment, None, n_threads)
    sd_A = np.inf
    if n_running:
        fine = replace(alignment, n_iterations=min(alignment.n_iterations, 3), n_running=n_running)
        level = _Level(np.stack(small), small_shape, shape, pixel_size_A)
        shifts_A, _ = level.found(fine, shifts_A, n_threads)
        sd_px = motion_jumps.deviation(level.frames(fine), shifts_A / level.step_A, n_running)
        sd_A = sd_px * float(level.step_A.mean())
    agreed = agreement(coarse.frames(alignment), shifts_A / coarse.step_A)
    relative: Reals = (shifts_A - shifts_A[0]) / pixel_size_A
    # The first frame's own error is in the difference; what is not known may be anywhere that was looked at.
    sd = np.full(len(relative), min(np.sqrt(2.0) * sd_A, alignment.max_shift_A) / pixel_size_A)
    sd[0] = 0.0
    return WholeMotion(relative, sd, agreed)


@dataclass(frozen=True, slots=True)
class _Level:
    """Frames of `shape` cropped in Fourier space to `small`."""

    frames_ft: C64
    small: tuple[int, int]
    shape: tuple[int, int]
    pixel_size_A: float

    @property
    def step_A(self) -> Reals:
        step: Reals = self.pixel_size_A * np.array([self.shape[1] / self.small[1], self.shape[0] / self.small[0]])
        return step

    def frames(self, alignment: Alignment) -> motion_jumps.Frames:
        pixel_A = float(self.step_A.mean())
        weights = frequency_weights(
            self.small,
            pixel_size_A=pixel_A,
            b_factor_A2=alignment.b_factor_A2,
            low_A=alignment.low_A,
            high_A=max(alignment.resolution_A, 2.2 * pixel_A),
        )
        return motion_jumps.Frames(self.frames_ft, self.small, weights)

    def found(self, alignment: Alignment, start_A: Reals | None, n_threads: int) -> tuple[Reals, int]:
        """Shifts `(f, 2)` [Å], and of how many neighbours; jumps are looked for where there is no start."""
        pixel_A = float(self.step_A.mean())
        how = Search(
            alignment.max_shift_A / pixel_A,
            LIKELY_A / pixel_A,
            alignment.n_iterations,
            tolerance_px=0.02,
            n_running=alignment.n_running,
            jumps=start_A is None and alignment.n_iterations > 0,
        )
        start = None if start_A is None else start_A / self.step_A
        found = search(self.frames(alignment), how, start_px=start, n_threads=n_threads)
        return found.shifts_px * self.step_A, found.n_running


@dataclass(frozen=True, slots=True)
class Dose:
    """Exposure of a movie: of each frame, and of the specimen before the first [e/Å²], and at which voltage."""

    per_frame_e_A2: float
    before_e_A2: float
    voltage_kV: float

    def weights(self, k: Reals, n_frames: int) -> F32:
        """Weights `(f, len(k))` that keep zero frequency as in the plain sum, and white noise white."""
        doses = self.before_e_A2 + self.per_frame_e_A2 * np.arange(1, n_frames + 1)
        weights: F32 = (frame_weights(k, doses, self.voltage_kV) * np.sqrt(n_frames)).astype(np.float32)
        return weights


def add_moved(plain: C64, weighted: C64, ft: C64, ramp_y: C64, ramp_x: C64, weight: F32, ring: Ints) -> None:
    """Reference of the compiled loop of the same name."""
    moved = ft * (ramp_y[:, None] * ramp_x[None, :])
    plain += moved
    weighted += moved * weight[ring]


@dataclass(frozen=True, slots=True)
class AlignedSums:
    """Transforms `(ny, nx//2 + 1)` of sums of moved frames, raw half layout, and (ny, nx) of the real ones.

    Parameters
    ----------
    plain, weighted
        Of all frames, without and with dose weighting.
    extra
        Of some frames each, without.
    shape
        Of the frames.
    """

    plain: C64
    weighted: C64
    extra: list[C64]
    shape: tuple[int, int]

    def image(self, ft: C64, shape: tuple[int, int] | None = None, *, n_threads: int = 1) -> F32:
        """Real sum, of fewer pixels where another even `shape` is asked for: electrons of those that merge add up."""
        shape = shape or self.shape
        small = ft if shape == self.shape else crop_spectrum(ft, shape)
        image: F32 = irfft2(small, shape, n_threads=n_threads).astype(np.float32)
        return image


def sum_aligned(
    frames: Iterable[F32],
    shifts_px: Reals,
    pixel_size_A: float,
    *,
    dose: Dose | None = None,
    chosen: Bools | None = None,
    n_threads: int = 1,
) -> AlignedSums:
    """Sums of frames moved by sub-pixel shifts, without and with dose weighting.

    Parameters
    ----------
    frames
        `(ny, nx)` float32 each.
    shifts_px
        `(f, 2)` (dx, dy), translation to apply to each frame; what leaves at one border enters at the other.
    pixel_size_A
        Of the frames.
    dose
        Exposure; None gives the plain sum twice.
    chosen
        `(e, f)` frames of each extra sum.
    n_threads
        Worker threads of the FFT.

    References
    ----------
    Dose weighting: Grant & Grigorieff, eLife 4, e06980 (2015), doi 10.7554/eLife.06980.
    """
    module = native(np, "motion")
    add = add_moved if module is None else module.add_moved
    chosen = np.zeros((0, len(shifts_px)), dtype=np.bool_) if chosen is None else chosen
    plain = weighted = np.empty(0, dtype=np.complex64)
    extra: list[C64] = []
    ring = np.empty(0, dtype=np.int32)
    weights = np.ones((len(shifts_px), 1), dtype=np.float32)
    shape = (0, 0)
    for i, frame in enumerate(frames):
        if i == 0:
            shape = (frame.shape[0], frame.shape[1])
            plain = np.zeros((shape[0], shape[1] // 2 + 1), dtype=np.complex64)
            weighted, ring = np.zeros_like(plain), np.zeros(plain.shape, dtype=np.int32)
            extra = [np.zeros_like(plain) for _ in chosen]
            if dose is not None:
                k = frequencies_1_A(shape, pixel_size_A, centred_half=False)
                ring = np.rint(k * ((_N_WEIGHTS - 1) / k.max())).astype(np.int32)
                weights = dose.weights(np.linspace(0.0, float(k.max()), _N_WEIGHTS), len(shifts_px))
        ramp_x, ramp_y = (
            np.exp(-2j * np.pi * shift * axis).astype(np.complex64)
            for shift, axis in zip(shifts_px[i], (np.fft.rfftfreq(shape[1]), np.fft.fftfreq(shape[0])), strict=True)
        )
        ft = rfft2(frame, n_threads=n_threads)
        add(plain, weighted, ft, ramp_y, ramp_x, weights[i], ring)
        for total, mask in zip(extra, chosen, strict=True):
            if mask[i]:
                total += ft * (ramp_y[:, None] * ramp_x)
    return AlignedSums(plain, weighted, extra, shape)
