"""Fourier shell correlation within a window about each place of two half-maps; the FSC of whole maps is in ``fsc``.

Shells are cut out of the whole box first and windowed then: sums over a window of products of two independent noises
are zero on average whatever the window or the mask, so that no correlation of a mask has to be taken off again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Complexes, Floats
from cryoframe.numerics.fourier import fft3_centred, good_size, ifft3_centred, resize_centred_ft
from cryoframe.numerics.masks import spherical_mask

#: A window with less of the mask in it than this share is not looked at.
_LEAST_COVER_FRAC = 0.02
#: Fewest independent samples that a correlation is read from.
_FEWEST_SAMPLES = 4.0
#: Width of a band times that of the window, over the box. Narrower bands carry signal from outside of the window into
#: it, wider ones let the limit look finer, by about a third of their width.
_BAND = 1.0
#: Bands so low that noise must be allowed more than this correlation tell nothing and are taken for granted.
_TELLING = 0.5


@dataclass(frozen=True)
class Window:
    """A soft ball and the lattice of places it is put to, in pixels of the maps.

    Attributes
    ----------
    radius_px, edge_px
        1 within the radius, falling to 0 over the edge.
    step_px
        Greatest distance of neighbouring places.
    """

    radius_px: float
    edge_px: float
    step_px: float

    @property
    def width_px(self) -> float:
        """Width at half height."""
        return 2.0 * self.radius_px + self.edge_px


class LocalBand(NamedTuple):
    """One band of shells: its centre [cycles per box], correlation and its noise `(m, m, m)` at the places.

    `noise_sd` is the standard deviation of the correlation of noise with noise, infinite where the mask leaves nothing.
    """

    shell: float
    correlation: F32
    noise_sd: F32


def band_transfer(n: int, shell: float, width: float) -> Floats:
    """Raised-cosine band `(n, n, n//2+1)` about a shell, 0 at a distance of `width`; bands `width` apart add up to 1.

    The first band, at one width, reaches down to zero frequency; what lies beyond n/2 counts as n/2.
    """
    axis = np.arange(n, dtype=np.float32) - n // 2
    last = np.arange(n // 2 + 1, dtype=np.float32)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + last[None, None, :] ** 2)
    radius = np.minimum(radius, np.float32(n / 2))
    if shell <= width:
        radius = np.maximum(radius, np.float32(shell))
    off = np.minimum(np.abs(radius - np.float32(shell)) / np.float32(width), np.float32(1.0))
    return np.asarray(0.5 + 0.5 * np.cos(np.float32(np.pi) * off), dtype=np.float32)


def band_width(n: int, window: Window) -> float:
    """Width of bands [cycles per box]: a narrower one would carry signal from outside of the window into it."""
    return max(1.0, _BAND * n / window.width_px)


def places_along(n: int, window: Window) -> int:
    """Places along an axis."""
    return min(good_size(int(np.ceil(n / max(window.step_px, 1.0)))), n)


def local_correlations(
    first: Floats, second: Floats, window: Window, *, mask: Floats | None = None
) -> Iterator[LocalBand]:
    """Correlate two maps band by band within a window about each place.

    Parameters
    ----------
    first, second
        `(n, n, n)` real, independent halves.
    window
        Its places lie at ``(i - m//2) n/m + n//2`` along each axis, m from :func:`places_along`.
    mask
        `(n, n, n)`, 0 … 1: weight of each voxel within the windows.

    Returns
    -------
    Bands from low to high frequency, up to n/2, half a width apart.

    References
    ----------
    Local FSC: Cardone, Heymann & Steven, J. Struct. Biol. 184, 226 (2013), doi:10.1016/j.jsb.2013.08.002. Variance of
    the correlation of noise: Bartlett, J. R. Stat. Soc. Suppl. 8, 27 (1946), doi:10.2307/2983611, its sum over the
    squared autocorrelation.
    """
    _check(first, second, mask, window)
    n, m = int(first.shape[0]), places_along(int(first.shape[0]), window)
    width = band_width(n, window)
    ball = spherical_mask(n, window.radius_px, edge_px=window.edge_px)
    window_ft = resize_centred_ft(fft3_centred(ball), m, n_dims=3) / np.float32(ball.sum(dtype=np.float64))
    transforms = [fft3_centred(np.asarray(part, dtype=np.float32)) for part in (first, second)]
    mask_ft = None if mask is None else fft3_centred(np.asarray(mask, dtype=np.float32))
    cover = _cover(mask_ft, window_ft, n, m)
    margin = int(np.ceil(4.0 * n / window.width_px))
    for shell in np.arange(width, n / 2 + 0.5 * width, 0.5 * width):
        # Products hold twice the band's frequency; what aliases must only miss the window's own few frequencies.
        side = good_size(int(2 * np.ceil(shell + width)) + margin)
        band = band_transfer(side, float(shell), width)
        parts = [ifft3_centred(resize_centred_ft(ft, side, n_dims=3) * band) for ft in transforms]
        weight = None if mask_ft is None else _resized(mask_ft, side)
        cross, power_a, power_b = (
            _windowed(product if weight is None else product * weight, window_ft, m)
            for product in (parts[0] * parts[1], parts[0] ** 2, parts[1] ** 2)
        )
        scale = np.sqrt(np.maximum(power_a, 0.0) * np.maximum(power_b, 0.0))
        correlation = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 1e-6 * max(scale.max(), 1e-37))
        spread = _noise_variance(band, window_ft, m) / np.maximum(cover, _LEAST_COVER_FRAC)
        noise_sd = np.where(cover > _LEAST_COVER_FRAC, np.sqrt(spread), np.inf)
        yield LocalBand(float(shell), np.clip(correlation, -1.0, 1.0), noise_sd.astype(np.float32))


def _check(first: Floats, second: Floats, mask: Floats | None, window: Window) -> None:
    shapes = {part.shape for part in (first, second, mask) if part is not None}
    if len(shapes) != 1 or first.ndim != 3 or len(set(first.shape)) != 1:
        raise InvalidInput(f"maps of {sorted(shapes)} voxels were given", expected="cubes of one size")
    n = first.shape[0]
    if not (window.radius_px >= 0.0 and window.edge_px >= 0.0 and 3.0 <= window.width_px <= n and window.step_px > 0):
        raise InvalidInput(
            f"a window {window.width_px:.1f} px wide in steps of {window.step_px:.1f} px was asked for",
            expected=f"3 px to the box of {n} px, in steps of more than 0",
            remedy="Choose its radius and edge to fit the box.",
        )


def _resized(ft: Complexes, side: int) -> F32:
    """Map of a transform on another number of voxels, grey scale kept."""
    scale = np.float32((side / ft.shape[0]) ** 3)
    return np.asarray(ifft3_centred(resize_centred_ft(ft, side, n_dims=3) * scale), dtype=np.float32)


def _cover(mask_ft: Complexes | None, window_ft: Complexes, n: int, m: int) -> F32:
    """Share of the window that the mask leaves at each place."""
    if mask_ft is None:
        return np.ones((m, m, m), dtype=np.float32)
    cropped = resize_centred_ft(mask_ft, m, n_dims=3) * window_ft * np.float32((m / n) ** 3)
    return np.asarray(np.clip(ifft3_centred(cropped), 0.0, 1.0), dtype=np.float32)


def _windowed(product: Floats, window_ft: Complexes, m: int) -> F32:
    """Weighted mean of a product within the window about each place, `(m, m, m)`."""
    ft = resize_centred_ft(fft3_centred(product), m, n_dims=3) * window_ft
    return np.asarray(ifft3_centred(ft) * np.float32((m / product.shape[0]) ** 3), dtype=np.float32)


def _noise_variance(band: Floats, window_ft: Complexes, m: int) -> float:
    """Variance of the windowed correlation of two independent noises of one band."""
    side = band.shape[0]
    autocorrelation = ifft3_centred((band * band).astype(np.complex64))
    centre = (side // 2,) * 3
    squared = (autocorrelation / autocorrelation[centre]) ** 2
    # Sum of the window's own autocorrelation times the squared one of the noise, as a convolution read at zero.
    spread = _windowed(squared, (window_ft * np.conj(window_ft)).astype(np.complex64), m)
    return float(spread[(m // 2,) * 3])


def chance_threshold(noise_sd: Floats, chance_frac: float) -> F32:
    """Correlation that noise exceeds with probability `chance_frac`; 1 where too few samples are left to tell.

    References
    ----------
    Fisher, Metron 1, 3 (1921): artanh of a correlation of N samples is normal, with variance 1/(N − 3), here N = 1/sd².
    """
    quantile = NormalDist().inv_cdf(1.0 - chance_frac)
    samples = 1.0 / np.maximum(np.asarray(noise_sd, dtype=np.float64), 1e-6) ** 2
    level = np.tanh(quantile / np.sqrt(np.maximum(samples - 1.0, 1.0)))
    return np.where(samples >= _FEWEST_SAMPLES, level, 1.0).astype(np.float32)


class LocalLimit(NamedTuple):
    """Frequency [cycles per box] up to which each place correlates, `(m, m, m)`; 0 where nothing does.

    `seen` says where the mask leaves the window enough to tell; `n_bands` how many bands it took.
    """

    shell: F32
    seen: Bools
    n_bands: int

    def at_voxels(self, n: int) -> F32:
        """Limits `(n, n, n)` from the places that were seen; 0 where none of the neighbouring ones was."""
        seen = self.seen.astype(np.float32)
        share = spread_to_voxels(seen, n)
        shell = spread_to_voxels(self.shell * seen, n)
        return np.divide(shell, share, out=np.zeros_like(shell), where=share > 1e-3)


def local_limit(
    bands: Iterator[LocalBand], *, threshold: float, chance_frac: float, first_shell: float, n_max: float
) -> LocalLimit:
    """Frequency at which each place's correlation first falls below the threshold, linear between bands.

    Parameters
    ----------
    bands
        From :func:`local_correlations`.
    threshold
        Of the correlation, 0.143 between half-maps.
    chance_frac
        Where noise exceeds the threshold more often than that, what it exceeds that often counts instead.
    first_shell
        Bands below it are taken for granted, as are those whose windows hold too few samples to tell signal from
        noise. A place that fails in the first band looked at gets 0.
    n_max
        A place that never falls below gets this.

    References
    ----------
    Cardone, Heymann & Steven, J. Struct. Biol. 184, 226 (2013), doi:10.1016/j.jsb.2013.08.002.
    """
    shell = seen = alive = before = None
    last, count = 0.0, 0
    for band in bands:
        least = np.maximum(np.float32(threshold), chance_threshold(band.noise_sd, chance_frac))
        telling = least <= max(_TELLING, threshold)
        if band.shell < first_shell or (shell is None and not telling.any()):
            continue
        excess = band.correlation - least
        if shell is None or seen is None or alive is None or before is None:
            seen, alive = telling, telling & (excess >= 0.0)
            shell = np.where(alive, np.float32(n_max), np.float32(0.0))
        else:
            falls = alive & (excess < 0.0)
            part = before[falls] / np.maximum(before[falls] - excess[falls], 1e-6)
            shell[falls] = last + part * (band.shell - last)
            alive &= ~falls
        before, last, count = excess, band.shell, count + 1
        if not alive.any():
            break
    if shell is None or seen is None:
        raise InvalidInput(
            "no band of shells tells signal from noise in windows this small",
            expected="a window of a few times the finest resolution, a coarsest resolution the box allows",
            remedy="Widen the window.",
        )
    return LocalLimit(np.minimum(shell, np.float32(n_max)), seen, count)


def spread_to_voxels(field: Floats, n: int) -> F32:
    """Values at places `(m, m, m)` interpolated linearly to all voxels `(n, n, n)`; constant beyond the last place."""
    m = field.shape[0]
    position = np.clip((np.arange(n) - n // 2) * (m / n) + m // 2, 0.0, m - 1.0)
    low = np.minimum(position.astype(np.int64), max(m - 2, 0))
    part = (position - low).astype(np.float32)
    matrix = np.zeros((n, m), dtype=np.float32)
    matrix[np.arange(n), low] = 1.0 - part
    matrix[np.arange(n), np.minimum(low + 1, m - 1)] += part
    values = np.asarray(field, dtype=np.float32)
    for _ in range(3):
        # The first axis is interpolated and goes last; after three turns the order is as before.
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, 0)), 0, -1)
    return np.ascontiguousarray(values)


def locally_filtered(volume: Floats, shell: Floats, *, edge_shells: float = 3.0) -> F32:
    """Low-pass each voxel at its own frequency.

    Parameters
    ----------
    volume
        `(n, n, n)` real.
    shell
        `(n, n, n)`: limit of each voxel [cycles per box]; nothing passes where it is 0.
    edge_shells
        Width of the raised cosine of each voxel's filter, half of it on either side of the limit.

    References
    ----------
    Definition: sum over bands of shells, each weighed by the voxel's own transfer at the band's centre.
    """
    n = int(volume.shape[0])
    width = max(1.0, edge_shells / 2.0)
    ft = fft3_centred(np.asarray(volume, dtype=np.float32))
    filtered = np.zeros(volume.shape, dtype=np.float32)
    for centre in np.arange(width, n / 2 + width, width):
        weight = np.clip((np.asarray(shell) - centre) / edge_shells + 0.5, 0.0, 1.0).astype(np.float32)
        if not weight.any():
            break
        filtered += (0.5 - 0.5 * np.cos(np.float32(np.pi) * weight)) * ifft3_centred(
            ft * band_transfer(n, float(centre), width)
        )
    return filtered
