"""Power spectra of whole micrographs by averaging tiles; fitting anything to them lives in ``ctf_fit``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats, Ints, Reals
from cryoframe.numerics.fourier import good_size, rfft2

_MAD_TO_SD = 1.4826
_TILES_AT_ONCE = 4
#: More pixels at the largest value than this and the camera, or the file's type, was too small for the image.
_SATURATED_FRAC = 0.25


def robust_scale(values: Floats) -> tuple[float, float]:
    """Median and standard deviation by 1.4826 × median absolute deviation, of every 17th value of a large array.

    References
    ----------
    Hampel, J. Am. Stat. Assoc. 69, 383 (1974), doi 10.1080/01621459.1974.10482962.
    """
    sample = values.ravel()
    sample = sample[:: 17 if sample.size > 1_000_000 else 1]
    centre = float(np.median(sample))
    spread = float(np.median(np.abs(sample - centre))) * _MAD_TO_SD
    return centre, spread if spread > 0 else float(sample.std())


def check_image(micrograph: Floats, *, smallest_px: int) -> None:
    """Refuse an image no statistics can be made of.

    Raises
    ------
    InvalidInput
        For an array that is not two-dimensional, is smaller than `smallest_px`, is constant or is not finite.
    """
    if micrograph.ndim != 2 or min(micrograph.shape) < smallest_px:
        raise InvalidInput(
            f"the micrograph has shape {micrograph.shape}",
            expected=f"two axes of at least {smallest_px} px",
            remedy="Give the whole micrograph, or ask for smaller tiles or boxes.",
        )
    low, high = float(micrograph.min()), float(micrograph.max())
    if not np.isfinite(low + high):
        raise InvalidInput(
            "the micrograph holds values that are not finite",
            expected="finite grey values",
            remedy="Look for dead pixels, or a division by a gain of zero, in the step that made it.",
        )
    if low == high:
        raise InvalidInput(f"every pixel of the micrograph is {low}", remedy="The exposure or its file is empty.")


def check_pixel_size(pixel_size_A: float) -> None:
    """Refuse a pixel that is no length.

    Raises
    ------
    InvalidInput
        Unless the number is finite and above 0.
    """
    if not (pixel_size_A > 0 and np.isfinite(pixel_size_A)):
        raise InvalidInput(
            f"the micrograph has a pixel of {pixel_size_A} Å",
            expected="a positive number",
            remedy="State pixel_size_A in the configuration.",
        )


def check_recording(micrograph: Floats, pixel_size_A: float, *, smallest_px: int) -> None:
    """Refuse what is no recorded image: see :func:`check_image`, :func:`check_pixel_size`, :func:`check_saturation`."""
    check_pixel_size(pixel_size_A)
    check_image(micrograph, smallest_px=smallest_px)
    check_saturation(micrograph)


def check_saturation(micrograph: Floats, *, most_frac: float = _SATURATED_FRAC) -> None:
    """Refuse an image of whose pixels more than `most_frac` have the largest value there is.

    Raises
    ------
    InvalidInput
        Saying how many.
    """
    share = float(np.mean(micrograph == micrograph.max()))
    if share > most_frac:
        raise InvalidInput(
            f"{100.0 * share:.0f} % of the micrograph's pixels have the largest value, {float(micrograph.max()):g}",
            expected="grey values below saturation",
            remedy="Look for a camera, or a type of file, whose range the exposure exceeds.",
        )


def clip_outliers(micrograph: Floats, *, n_sigma: float = 6.0) -> F32:
    """Return the image with values beyond `n_sigma` robust standard deviations of the median set to that limit."""
    centre, spread = robust_scale(micrograph)
    clipped: F32 = np.clip(micrograph, centre - n_sigma * spread, centre + n_sigma * spread).astype(np.float32)
    return clipped


def tile_starts(length: int, tile: int, *, overlap_frac: float = 0.5) -> Ints:
    """First pixels of tiles that cover `length` evenly and overlap by at least `overlap_frac`, `(m,)` int64."""
    if length < tile:
        raise InvalidInput(f"a tile of {tile} px does not fit into {length} px", expected="a tile within the image")
    n_steps = int(np.ceil((length - tile) / max(tile * (1.0 - overlap_frac), 1.0)))
    starts: Ints = np.round(np.linspace(0, length - tile, n_steps + 1)).astype(np.int64)
    return starts


def hann_window(n: int) -> F32:
    """Separable Hann window `(n, n)` whose mean square is 1, so that power is kept."""
    axis = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    window = np.outer(axis, axis)
    scaled: F32 = (window / np.sqrt(np.mean(window**2))).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class TiledSpectrum:
    """Mean periodogram of a micrograph, and those of its parts.

    Parameters
    ----------
    power
        `(tile, tile//2+1)` float64, centred half layout, zero frequency at ``[tile//2, 0]``; white noise of variance 1
        has expectation 1.
    parts
        `(g, tile, tile//2+1)` float32, the same of the tiles of each part; empty where none were asked for.
    centres_px
        `(g, 2)` mean place (x, y) of the tiles of each part, from the centre of pixel [0, 0].
    """

    power: Reals
    parts: F32
    centres_px: Reals


def tiled_power_spectrum(micrograph: Floats, tile_px: int, *, overlap_frac: float = 0.5, n_threads: int = 1) -> Reals:
    """Average power spectrum of overlapping, tapered tiles; see :func:`tiled_spectra`."""
    return tiled_spectra(micrograph, tile_px, overlap_frac=overlap_frac, n_threads=n_threads).power


def tiled_spectra(
    micrograph: Floats, tile_px: int, *, overlap_frac: float = 0.5, n_parts: int = 0, n_threads: int = 1
) -> TiledSpectrum:
    """Average power spectra of overlapping, tapered tiles of the whole and of its parts.

    Parameters
    ----------
    micrograph
        `(ny, nx)` real.
    tile_px
        Edge of the tiles; even.
    overlap_frac
        Least overlap of neighbours.
    n_parts
        Along either side; no more than there are tiles. 0 = none.
    n_threads
        Worker threads of the FFT; the sums do not depend on it.

    References
    ----------
    Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967), doi 10.1109/TAU.1967.1161901.
    """
    if tile_px % 2:
        raise InvalidInput(f"a tile of {tile_px} px was asked for", expected="an even number of pixels")
    check_image(micrograph, smallest_px=tile_px)
    corners, part = _corners(micrograph.shape, tile_px, overlap_frac=overlap_frac, n_parts=n_parts)
    window = hann_window(tile_px)
    half = (tile_px, tile_px // 2 + 1)
    total, parts = np.zeros(half), np.zeros((int(part.max()) + 1 if n_parts else 0, *half), dtype=np.float32)
    for first in range(0, len(corners), _TILES_AT_ONCE):
        chosen = slice(first, first + _TILES_AT_ONCE)
        tiles = np.stack([micrograph[y : y + tile_px, x : x + tile_px] for y, x in corners[chosen]]).astype(np.float32)
        tiles -= tiles.mean(axis=(1, 2), keepdims=True)
        transform = rfft2(tiles * window, n_threads=n_threads)
        power = transform.real**2 + transform.imag**2
        total += power.sum(axis=0, dtype=np.float64)
        if n_parts:
            for number, one in zip(part[chosen], power, strict=True):
                parts[number] += one
    count = np.bincount(part, minlength=len(parts))[: len(parts)]
    middle = corners[:, ::-1] + 0.5 * (tile_px - 1)
    centres = [middle[part == number].mean(axis=0) for number in range(len(parts))]
    parts /= (np.maximum(count, 1) * tile_px**2).astype(np.float32)[:, None, None]
    return TiledSpectrum(
        power=np.fft.fftshift(total / (len(corners) * tile_px**2), axes=0),
        parts=np.fft.fftshift(parts, axes=1),
        centres_px=np.array(centres).reshape(-1, 2),
    )


def _corners(shape: tuple[int, ...], tile_px: int, *, overlap_frac: float, n_parts: int) -> tuple[Ints, Ints]:
    """First pixels (y, x) of the tiles, `(t, 2)`, and the part that each tile belongs to, `(t,)`."""
    y, x = (tile_starts(length, tile_px, overlap_frac=overlap_frac) for length in shape)
    corners = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    row, column = (np.arange(len(a)) * max(min(n_parts, len(a)), 1) // len(a) for a in (y, x))
    part: Ints = (row[:, None] * max(min(n_parts, len(x)), 1) + column[None, :]).ravel()
    return corners, part


def tile_size(extent_A: float, pixel_size_A: float, shape_px: tuple[int, int]) -> int:
    """Even, quickly transformed tile edge near `extent_A`, never larger than the image."""
    wanted = good_size(round(extent_A / pixel_size_A))
    largest = min(shape_px) - min(shape_px) % 2
    return min(wanted, largest)


def half_of_full(spectrum: Floats) -> Reals:
    """Centred half layout `(n, n//2+1)` of a centro-symmetric spectrum `(n, n)` with its zero at ``[n//2, n//2]``."""
    n = spectrum.shape[-1]
    if spectrum.shape != (n, n) or n % 2:
        raise InvalidInput(f"a spectrum of shape {spectrum.shape} was given", expected="(n, n) with n even")
    return np.concatenate([spectrum[:, n // 2 :], spectrum[:, :1]], axis=1).astype(np.float64)


def full_of_half(spectrum: Floats) -> Reals:
    """Full spectrum `(n, n)`, zero at ``[n//2, n//2]``, of the centred half layout; the inverse of `half_of_full`."""
    n = spectrum.shape[0]
    right = spectrum[:, : n // 2]
    mirrored = np.roll(spectrum[::-1, ::-1], 1, axis=0)[:, : n // 2]
    return np.concatenate([mirrored, right], axis=1).astype(np.float64)


def off_axes(n: int, *, margin_px: int = 1) -> Bools:
    """Which samples `(n, n//2+1)` lie further than `margin_px` from both axes, where readout stripes show."""
    rows = np.abs(np.arange(n) - n // 2) > margin_px
    columns = np.arange(n // 2 + 1) > margin_px
    return rows[:, None] & columns[None, :]
