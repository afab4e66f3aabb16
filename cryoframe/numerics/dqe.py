"""Measuring a camera from its images: knife edge to MTF, flat fields to noise power, both to DQE; no camera lives here.

Frequencies are in cycles per pixel of the images given; Nyquist is 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats, Reals
from cryoframe.numerics.fourier import rfft2

_BINS_PER_PX = 8
_N_PERIODS = 4.0


@dataclass(frozen=True, slots=True)
class NoisePower:
    """Noise of flat fields.

    Parameters
    ----------
    frequency_1_px
        `(s,)`, shell centres from 0 to Nyquist.
    power_grey2
        `(s,)`; the variance of a pixel where noise is white. The first value is the limit towards zero frequency.
    mean_grey
        Mean of the flat fields.
    """

    frequency_1_px: Reals
    power_grey2: Reals
    mean_grey: float

    @property
    def nnps(self) -> Reals:
        """Power over that at zero frequency, `(s,)`."""
        normalised: Reals = self.power_grey2 / self.power_grey2[0]
        return normalised


def slanted_edge(shape: tuple[int, int], *, slope: float = 0.05, n_sub: int = 16) -> F32:
    """Part of each pixel `(ny, nx)` that a knife leaves open, 1 left of an edge near the middle and 0 right of it.

    Parameters
    ----------
    shape
        ``(ny, nx)``.
    slope
        Columns the edge moves to the right with each row.
    n_sub
        Lines of a pixel along which the open part is exact.
    """
    ny, nx = shape
    rows = (np.arange(ny * n_sub) + 0.5) / n_sub
    edge = 0.5 * nx + slope * (rows - 0.5 * ny)
    part = np.zeros(shape)
    for i in range(n_sub):
        part += np.clip(edge[i::n_sub, None] - np.arange(nx)[None, :], 0.0, 1.0)
    open_part: F32 = (part / n_sub).astype(np.float32)
    return open_part


def _edge_line(image: Reals, low: float, high: float, reach_px: int) -> tuple[float, float]:
    """Slope and column, at the middle row, of the edge between `high` on the left and `low` on the right."""
    rows = np.arange(image.shape[0]) - 0.5 * (image.shape[0] - 1)
    columns = (image.sum(axis=1) - low * image.shape[1]) / (high - low) - 0.5
    slope, middle = np.polyfit(rows, columns, 1)
    # Wide tails leave the image, which makes sums along whole rows move less than the edge. A window that goes along
    # with it sees the same part of the tails in each row.
    half = max(4, reach_px // 4)
    for _ in range(2):
        first = np.round(middle + slope * rows).astype(int) - half
        first = np.clip(first, 0, image.shape[1] - 2 * half - 1)
        window = np.take_along_axis(image, first[:, None] + np.arange(2 * half + 1)[None, :], axis=1)
        slope, middle = np.polyfit(rows, first + (window - low).sum(axis=1) / (high - low) - 0.5, 1)
    return float(slope), float(middle)


def _near_edge(k: Reals, place: Reals, reach_px: int) -> Reals:
    """Weights `(s, m)`: 1 within two periods of the edge, 0 beyond four; noise grows with the length looked at."""
    half = np.minimum(np.divide(_N_PERIODS, np.maximum(k, 1e-9)), float(reach_px))[:, None]
    outwards = np.clip(2.0 * np.abs(place)[None, :] / half - 1.0, 0.0, 1.0)
    weights: Reals = np.where(half < reach_px, np.cos(0.5 * math.pi * outwards) ** 2, 1.0)
    return weights


def knife_edge_mtf(
    image: Floats, frequency_1_px: Floats, *, levels_grey: tuple[float, float] | None = None, reach_px: int = 64
) -> Reals:
    """MTF before sampling from the image of a slanted edge, across it.

    The edge is found from the sum along each row; pixels are sorted by their distance from it into bins of an eighth
    of a pixel, differences of which are the line spread; its transform is corrected for the bins.

    Parameters
    ----------
    image
        `(ny, nx)`, bright on the left of an edge that crosses every row, by a tenth of a column a row or less.
    frequency_1_px
        `(s,)` where the MTF is wanted, up to 1.
    levels_grey
        Bright and dark level, where they are known from flat fields; the outer quarters of the image otherwise, and
        then the curve is 1 at zero frequency.
    reach_px
        Distance from the edge that is looked at; take three standard deviations of the widest spread at least, where
        levels are not given or low frequencies are wanted.

    Returns
    -------
    `(s,)` float64.

    Raises
    ------
    InvalidInput
        The image is too small, or brighter on the right.

    References
    ----------
    Meyer & Kirkland, Ultramicroscopy 75, 23 (1998), doi 10.1016/S0304-3991(98)00051-5 (edge method);
    McMullan et al., Ultramicroscopy 109, 1126 (2009), doi 10.1016/j.ultramic.2009.04.002.
    """
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim != 2 or pixels.shape[1] < 2 * reach_px + 8 or pixels.shape[0] < 32:
        raise InvalidInput(
            f"an edge of shape {pixels.shape} was given", expected=f"32 rows, {2 * reach_px + 8} columns"
        )
    quarter = pixels.shape[1] // 4
    high, low = levels_grey or (float(pixels[:, :quarter].mean()), float(pixels[:, -quarter:].mean()))
    if high <= low:
        raise InvalidInput("the edge is dark on its left", expected="the bright side on the left", remedy="Flip it.")
    slope, middle = _edge_line(pixels, low, high, reach_px)
    rows = np.arange(pixels.shape[0])[:, None] - 0.5 * (pixels.shape[0] - 1)
    distance = (np.arange(pixels.shape[1])[None, :] - middle - slope * rows) / math.hypot(1.0, slope)
    bins = np.floor((distance + reach_px) * _BINS_PER_PX).astype(int)
    n_bins = 2 * reach_px * _BINS_PER_PX
    inside = (bins >= 0) & (bins < n_bins)
    total = np.bincount(bins[inside], weights=pixels[inside], minlength=n_bins)
    number = np.bincount(bins[inside], minlength=n_bins)
    if not number.all():
        raise InvalidInput(
            f"an edge that moves by {slope:.4f} columns a row leaves places unseen",
            expected="one pixel at each eighth of a pixel across the edge",
            remedy="Tilt the edge by 1 to 5 degrees, or give more rows.",
        )
    spread = -np.diff(total / number)
    place = (np.arange(spread.size) + 1.0) / _BINS_PER_PX - reach_px
    k = np.asarray(frequency_1_px, dtype=np.float64)
    kernel = np.exp(-2j * math.pi * k[:, None] * place[None, :]) * _near_edge(k, place, reach_px)
    # A bin averages and a difference over one bin averages once more.
    curve: Reals = np.abs(kernel @ spread) / np.sinc(k / _BINS_PER_PX) ** 2
    contrast = high - low if levels_grey is not None else float(spread.sum())
    return curve / contrast


def noise_power(flats: Floats, *, tile_px: int = 128) -> NoisePower:
    """Noise power of flat fields, averaged over tiles and directions.

    Parameters
    ----------
    flats
        `(n, ny, nx)` images of even illumination, gain-corrected.
    tile_px
        Side of the tiles, each taken about its own mean, an even number.

    Raises
    ------
    InvalidInput
        There is no whole tile.

    References
    ----------
    McMullan et al., Ultramicroscopy 109, 1126 (2009), doi 10.1016/j.ultramic.2009.04.002 (noise power at zero
    frequency as a limit; here because a tile's own mean is taken off).
    """
    if flats.ndim != 3 or min(flats.shape[1:]) < tile_px or flats.shape[0] < 1 or tile_px < 16:
        raise InvalidInput(f"flat fields of shape {flats.shape} hold no tile of {tile_px} px", expected="(n, ny, nx)")
    n_y, n_x = (n // tile_px for n in flats.shape[1:])
    total = np.zeros((tile_px, tile_px // 2 + 1))
    for flat in flats:
        tiles = flat[: n_y * tile_px, : n_x * tile_px].reshape(n_y, tile_px, n_x, tile_px).swapaxes(1, 2)
        tiles = tiles - tiles.mean(axis=(2, 3), keepdims=True)
        total += (np.abs(rfft2(tiles.astype(np.float32))).astype(np.float64) ** 2).sum(axis=(0, 1))
    power = total / (len(flats) * n_y * n_x * tile_px**2)
    ky = np.fft.fftfreq(tile_px)[:, None] * tile_px
    kx = np.arange(tile_px // 2 + 1)[None, :]
    shell = np.floor(np.hypot(ky, kx) + 0.5).astype(int).ravel()
    # Columns inside the half transform stand for two.
    weight = np.broadcast_to(np.where((kx == 0) | (kx == tile_px // 2), 1.0, 2.0), power.shape).ravel()
    n_shells = tile_px // 2 + 1
    sums = np.bincount(shell, weights=weight * power.ravel())[:n_shells]
    numbers = np.bincount(shell, weights=weight)[:n_shells]
    curve = sums / numbers
    n_low = max(4, 3 * tile_px // 32)
    low = np.arange(1, n_low + 1)
    # Power is even in frequency: a parabola through the lowest shells, each weighted by its samples.
    curve[0] = np.polynomial.Polynomial.fit(low**2, curve[low], 1, w=np.sqrt(numbers[low])).convert().coef[0]
    return NoisePower(np.arange(n_shells) / tile_px, curve, float(flats.mean(dtype=np.float64)))


def measured_dqe(mtf: Floats, noise: NoisePower, dose_e_px: float) -> Reals:
    """DQE(k) = mean²·MTF²(k) / (dose·power(k)), `(s,)`.

    Parameters
    ----------
    mtf
        `(s,)` at the frequencies of `noise`.
    noise
        Of flat fields of that dose.
    dose_e_px
        Electrons that fell on a pixel of the images.

    References
    ----------
    McMullan et al., Ultramicroscopy 109, 1126 (2009), doi 10.1016/j.ultramic.2009.04.002, definition.
    """
    if mtf.shape != noise.power_grey2.shape or not dose_e_px > 0.0:
        raise InvalidInput(
            f"an MTF of shape {mtf.shape}, noise of shape {noise.power_grey2.shape}, {dose_e_px} e/px were given",
            expected="one frequency axis and a dose above 0",
        )
    curve: Reals = noise.mean_grey**2 * np.asarray(mtf, dtype=np.float64) ** 2 / (dose_e_px * noise.power_grey2)
    return curve
