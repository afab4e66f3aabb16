"""Patches of frames and how alike they are under a field of motion; fitted in ``patch_motion_fit``.

All frames of all patches are fitted at once: whole-frame shifts, one a frame, and coefficients of smooth modes of local
motion (``motion_prior``) are those that make the frames of each patch most alike. The likeness is the logarithm of
the probability of the frames, an unknown image of known spectrum being integrated out, so that patches and frequencies
count by what they tell. It is climbed by Newton's method.

References
----------
Likeness: definition; for one patch and even weights it is the energy of the sum, Grant & Grigorieff, eLife 4, e06980
(2015), doi 10.7554/eLife.06980. Outliers: Lange, Little & Taylor, JASA 84, 881 (1989), doi 10.2307/2290063.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from cryoframe.numerics.backend import C64, F32, Ints, Reals, native
from cryoframe.numerics.fourier import good_size, rfft2
from cryoframe.numerics.motion_jumps import Agreement
from cryoframe.numerics.motion_prior import FieldPrior
from cryoframe.numerics.windows import Tile, tukey_2d

#: Rings that signal and noise are averaged over, and how many of them are smoothed over.
_SMOOTH = 5
#: How far signal must stand out of chance, in deviations, to be followed at all.
_EVIDENCE = 8.0


@dataclass(frozen=True, slots=True)
class Patches:
    """Spectra of patches of all frames, at the frequencies that are compared.

    Parameters
    ----------
    spectra
        `(p, f, k)`; times what exposure has left of the signal, once :func:`faded`.
    squares
        `(p, k)` sums over the frames of their squared moduli.
    index
        `(3, k)`: column, row and ring of each frequency.
    size
        (ny, nx) of the patches [px].
    power
        `(r,)` mean squared modulus by ring; `count` frequencies are in it.
    moved_px
        `(f, 2)` whole pixels by which frames were moved when patches were cut.
    share
        Part of the pixels of a patch that no other patch holds: how much its frequencies count.
    """

    spectra: C64
    squares: F32
    index: Ints
    size: tuple[int, int]
    power: Reals
    count: Reals
    moved_px: Reals
    share: float

    @property
    def runs(self) -> Ints:
        """Row, first column, begin and end of each row's frequencies, `(n, 4)`; a row may have two."""
        column, row, _ = self.index
        begin = np.flatnonzero(np.append(True, (np.diff(row) != 0) | (np.diff(column) != 1)))
        end = np.append(begin[1:], len(row))
        return np.stack([row[begin], column[begin], begin, end], axis=1).astype(np.int64)

    @property
    def k_px(self) -> F32:
        """2π times the frequencies `(2, k)` (x, y) [rad/px]."""
        frequency = np.stack([self.index[0] / self.size[1], np.fft.fftfreq(self.size[0])[self.index[1]]])
        return (2.0 * np.pi * frequency).astype(np.float32)


def tile_patches(shape: tuple[int, int], patches: tuple[int, int], *, overlap: float = 1.3) -> list[Tile]:
    """Tiles, row by row, `patches` (rows, columns) of them, `overlap` times as long as they are apart; even sizes."""
    sizes = [min(good_size(int(overlap * n / m)), n - n % 2) for n, m in zip(shape, patches, strict=True)]
    starts = [
        [min(max(round((i + 0.5) * n / m - 0.5 * size), 0), n - size) for i in range(m)]
        for n, m, size in zip(shape, patches, sizes, strict=True)
    ]
    return [Tile(y, x, sizes[0], sizes[1]) for y in starts[0] for x in starts[1]]


def band(size: tuple[int, int], low_px: float, high_px: float) -> tuple[Ints, int]:
    """Column, row and ring `(3, k)` of frequencies between wavelengths `low_px` and `high_px`, and how many rings."""
    ky, kx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None, :]
    k = np.hypot(ky, kx)
    once = (kx > 0) & (kx < 0.5) | (kx == 0) & (ky > 0)
    row, column = np.nonzero(once & (k >= 1.0 / low_px) & (k <= 1.0 / high_px) & (np.abs(ky) < 0.5))
    ring = np.floor((k[row, column] - 1.0 / low_px) * min(size)).astype(np.int64)
    return np.stack([column, row, ring]).astype(np.int32), int(ring.max(initial=0)) + 1


def cut_patches(
    frames: Iterable[F32], tiles: list[Tile], moved_px: Reals, *, low_px: float, high_px: float, n_threads: int = 1
) -> Patches:
    """Transform patches of frames that are moved by whole pixels first.

    Parameters
    ----------
    frames
        `f` frames `(ny, nx)`, one after the other.
    tiles
        All of one size.
    moved_px
        `(f, 2)` (dx, dy), translations of the frames; whole numbers.
    low_px, high_px
        Wavelengths between which patches are compared [px].
    """
    n_frames = len(moved_px)
    size = (tiles[0].n_y, tiles[0].n_x)
    index, n_rings = band(size, low_px, high_px)
    window = tukey_2d(size, 0.5).astype(np.float32)
    window /= np.float32(np.sqrt(float((window.astype(np.float64) ** 2).sum())))
    flat = index[1].astype(np.int64) * (size[1] // 2 + 1) + index[0]
    spectra = np.empty((len(tiles), n_frames, index.shape[1]), dtype=np.complex64)
    offset = np.rint(moved_px).astype(np.int64)
    with ThreadPoolExecutor(max(n_threads, 1)) as pool:
        for f, frame in enumerate(frames):

            def one(number: int, frame: F32 = frame, f: int = f) -> None:
                patch = _part(frame, tiles[number], (int(offset[f, 1]), int(offset[f, 0])))
                np.take(rfft2((patch - patch.mean()) * window).reshape(-1), flat, out=spectra[number, f])

            list(pool.map(one, range(len(tiles))))
    count = np.bincount(index[2], minlength=n_rings).astype(np.float64)
    squares = _squares(spectra)
    summed = np.bincount(index[2], squares.sum(axis=0, dtype=np.float64), n_rings)
    power: Reals = np.asarray(summed / (np.maximum(count, 1.0) * len(tiles) * n_frames), dtype=np.float64)
    extent = [max(end) for end in zip(*((t.y_px + t.n_y, t.x_px + t.n_x) for t in tiles), strict=True)]
    share = min(1.0, extent[0] * extent[1] / (len(tiles) * size[0] * size[1]))
    return Patches(spectra, squares, index, size, power, count, offset.astype(np.float64), share)


def _squares(spectra: C64) -> F32:
    """Sums over frames of squared moduli, `(p, k)`."""
    squares: F32 = np.zeros((spectra.shape[0], spectra.shape[2]), dtype=np.float32)
    for patch, total in zip(spectra, squares, strict=True):
        for ft in patch:
            total += ft.real**2 + ft.imag**2
    return squares


def faded(patches: Patches, fade: F32) -> Patches:
    """Patches whose spectra are multiplied, in place, by what exposure has left of the signal, `(f, r)` by ring."""
    if not np.all(fade == 1.0):
        left = fade[:, patches.index[2]]
        for patch in patches.spectra:
            patch *= left
    return replace(patches, squares=_squares(patches.spectra))


def _part(frame: F32, tile: Tile, moved: tuple[int, int]) -> F32:
    """Pixels of a frame, moved by (dy, dx), that lie on a tile; the last ones are repeated beyond the borders."""
    (ny, nx), y, x = frame.shape, tile.y_px - moved[0], tile.x_px - moved[1]
    if y >= 0 and x >= 0 and y + tile.n_y <= ny and x + tile.n_x <= nx:
        return frame[y : y + tile.n_y, x : x + tile.n_x]
    rows, columns = np.clip(np.arange(y, y + tile.n_y), 0, ny - 1), np.clip(np.arange(x, x + tile.n_x), 0, nx - 1)
    return frame[rows[:, None], columns]


def _each(work: object, n: int, n_threads: int) -> None:
    assert callable(work)
    with ThreadPoolExecutor(max(n_threads, 1)) as pool:
        for _ in pool.map(work, range(n)):
            pass


def move(moved: C64, total: C64, spectra: C64, runs: Ints, waves_x: C64, waves_y: C64) -> None:
    """Reference of the compiled loop of the same name; `runs` `(n, 4)`: row, first column, begin and end in spectra."""
    for row, column, begin, end in runs:
        waves = waves_x[:, column : column + end - begin] * waves_y[:, row, None]
        moved[:, begin:end] = spectra[:, begin:end] * waves
    total += moved.sum(axis=0)


def slope(out: Reals, moved: C64, along_x: C64, along_y: C64) -> None:
    """Reference of the compiled loop of the same name."""
    out[...] = np.stack([(np.conj(along) * moved).imag.sum(axis=1) for along in (along_x, along_y)], axis=1)


@dataclass(frozen=True, slots=True)
class Likeness:
    """Slopes `(p, f, 2)` of the likeness, its bends `(p, 3)` (xx, xy, yy), and products by ring `(r,)`."""

    slopes: Reals
    bends: Reals
    rings: Reals


def likeness(patches: Patches, shifts_px: Reals, weights: F32, *, n_threads: int = 1) -> Likeness:
    """Compare each frame of each patch with the sum of the others: Σ w·Re conj(F_f)·(S − F_f).

    Parameters
    ----------
    shifts_px
        `(p, f, 2)` (dx, dy), translations of the frames.
    weights
        `(r,)` of the rings.

    Notes
    -----
    |F_f|² does not change as frames move, so that Σ_f conj(F_f)·(S − F_f) = |S|² − Σ_f |F_f|² needs the sum alone.
    """
    n_patches, n_frames, n_k = patches.spectra.shape
    slopes, bends = np.zeros((n_patches, n_frames, 2)), np.zeros((n_patches, 3))
    rings = np.zeros((n_patches, len(weights)))
    module = native(np, "patch_motion")
    loops = (move, slope) if module is None else (module.move, module.slope)
    (kx, ky), left = patches.k_px, shifts_px - patches.moved_px
    weight = weights[patches.index[2]]
    axes = [np.arange(patches.size[1] // 2 + 1) / patches.size[1], np.fft.fftfreq(patches.size[0])]

    def one(p: int) -> None:
        waves = [np.exp(-2j * np.pi * left[p, :, a, None] * axes[a]).astype(np.complex64) for a in (0, 1)]
        moved, total = np.empty((n_frames, n_k), dtype=np.complex64), np.zeros(n_k, dtype=np.complex64)
        loops[0](moved, total, patches.spectra[p], patches.runs, waves[0], waves[1])
        loops[1](slopes[p], moved, total * (weight * kx), total * (weight * ky))
        product = total.real**2 + total.imag**2 - patches.squares[p]
        rings[p] = np.bincount(patches.index[2], product, len(weights))
        bends[p] = [float((product * weight * a * b).sum(dtype=np.float64)) for a, b in ((kx, kx), (kx, ky), (ky, ky))]

    _each(one, n_patches, n_threads)
    return Likeness(slopes, bends, rings.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Signal and noise by ring `(r,)`: mean squared moduli in one frame."""

    signal: Reals
    noise: Reals

    def weights(self, fade: F32) -> F32:
        """Weights of products that make their sum the logarithm of the probability, `(r,)`."""
        kept = (fade.astype(np.float64) ** 2).sum(axis=0)
        weights: F32 = (self.signal / (self.noise * (kept * self.signal + self.noise))).astype(np.float32)
        return weights


def measured_spectrum(patches: Patches, rings: Reals, fade: F32) -> Spectrum:
    """Signal from the products of different frames, noise from what is left of the power; smoothed over rings."""
    squared = fade.astype(np.float64) ** 2
    pairs = squared.sum(axis=0) ** 2 - (squared**2).sum(axis=0)
    n = len(patches.spectra) * patches.count
    kernel = np.ones(min(_SMOOTH, len(rings)))
    products, weight = (np.convolve(values, kernel, "same") for values in (rings, n * pairs))
    signal = products / np.maximum(weight, 1e-30)
    power = np.convolve(n * patches.power, kernel, "same") / np.maximum(np.convolve(n, kernel, "same"), 1.0)
    noise = power - np.maximum(signal, 0.0) * squared.mean(axis=0)
    # A difference of large numbers where signal is strong; counting noise is nearly white.
    noise = np.maximum(noise, 0.5 * float(np.median(noise[len(noise) // 2 :])))
    noise = np.maximum(noise, 1e-6 * patches.power + 1e-30)
    # Products of noise scatter by noise²·√(pairs/2n): less than thrice that is taken for nothing.
    scatter = noise * np.sqrt(np.convolve(0.5 * n * pairs, kernel, "same")) / np.maximum(weight, 1e-30)
    spectrum = Spectrum(np.where(signal > 3.0 * scatter, signal, 0.0), noise)
    weight = spectrum.weights(fade).astype(np.float64)
    chance = float(np.sqrt((weight**2 * 0.5 * n * pairs * noise**2).sum()))
    # One ring in some hundred stands out by chance; all of them together do not.
    return spectrum if float((weight * rings).sum()) > _EVIDENCE * chance else Spectrum(np.zeros_like(signal), noise)


@dataclass(frozen=True, slots=True)
class Fit:
    """Whole-frame shifts and local modes.

    Parameters
    ----------
    whole_px
        `(f, 2)`, the first (0, 0).
    local_px
        `(2, i, j)` coefficients of the modes, x and y.
    prior
        The modes.
    whole_sd_px
        `(f,)` standard deviation of the whole-frame shift against the first frame, along one axis.
    sd_px
        `(p, f)` that of the shift of each patch: what noise and the spread of motion leave open, times the root of
        how much larger the patch's residuals are than noise makes them.
    trust
        `(p,)` weights of the patches: 1 where they agree with the field, towards 0 where they do not.
    amplitude_px
        RMS local motion at the end that the movie suggests.
    n_rounds
        Of Newton's method.
    agreement
        How alike whole frames are; None where nobody looked.
    """

    whole_px: Reals
    local_px: Reals
    prior: FieldPrior
    whole_sd_px: Reals
    sd_px: Reals
    trust: Reals
    amplitude_px: float
    n_rounds: int
    agreement: Agreement | None = None

    def shifts_px(self, x_A: Reals, y_A: Reals) -> Reals:
        """Translations `(…, f, 2)` (dx, dy) at places, against the first frame."""
        local = np.einsum("...i,aij,fj->...fa", self.prior.at(x_A, y_A), self.local_px, self.prior.time)
        shifts: Reals = self.whole_px + local
        return shifts
