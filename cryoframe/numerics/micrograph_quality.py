"""What a micrograph looks like, tile by tile and in its spectrum: carbon, dirt, crystals, nothing. No verdict."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats, Reals
from cryoframe.numerics.masks import grow
from cryoframe.numerics.spectrum import clip_outliers, tiled_power_spectrum

_MAD_TO_SD = 1.4826


class Evidence(NamedTuple):
    """What speaks for or against a micrograph.

    Parameters
    ----------
    usable_frac
        Share of tiles whose grey value and texture are those of most tiles.
    uneven_sd
        Standard deviation, over tiles, of the logarithm of the variance within a tile.
    structure_frac
        Share of the variance within tiles that is neither fine grain nor a gradient: particles, crystals, dirt.
    bragg_ratio
        Brightest spot of the spectrum over the median of its ring: 3 to 6 for noise, more for crystals.
    stripe_ratio
        Brightest direction of the spectrum over the dimmest: about 1, more for drift, astigmatism and edges.
    """

    usable_frac: float
    uneven_sd: float
    structure_frac: float
    bragg_ratio: float
    stripe_ratio: float


def tile_statistics(image: Floats, tile_px: int) -> tuple[Reals, Reals]:
    """Mean and variance `(gy, gx)` of whole tiles; what is left over at the far edges is left out."""
    gy, gx = (side // tile_px for side in image.shape)
    if min(gy, gx) < 4:
        raise InvalidInput(
            f"tiles of {tile_px} px in an image of {image.shape} px", expected="at least four tiles along each axis"
        )
    tiles = np.asarray(image[: gy * tile_px, : gx * tile_px], dtype=np.float64).reshape(gy, tile_px, gx, tile_px)
    return tiles.mean(axis=(1, 3)), tiles.var(axis=(1, 3))


def odd_tiles(mean: Reals, variance: Reals, *, n_sigma: float) -> Bools:
    """Tiles `(gy, gx)` whose mean (but for a plane) or variance is not that of most; their neighbours with them."""
    gy, gx = mean.shape
    # The slope that most neighbours have: the edge of carbon is one step among many, and does not tilt the plane.
    slope_y, slope_x = float(np.median(np.diff(mean, axis=0))), float(np.median(np.diff(mean, axis=1)))
    off = (mean - slope_y * np.arange(gy)[:, None] - slope_x * np.arange(gx)[None, :]).ravel()
    off -= np.median(off)
    spread = _MAD_TO_SD * float(np.median(np.abs(off))) + 1e-30
    logarithm = np.log(np.maximum(variance.ravel(), 1e-30))
    middle = np.median(logarithm)
    rough = _MAD_TO_SD * float(np.median(np.abs(logarithm - middle))) + 1e-3
    odd = (np.abs(off) > n_sigma * spread) | (np.abs(logarithm - middle) > n_sigma * rough)
    found = odd.reshape(gy, gx)
    return grow(found, 1.0) if found.any() else found


def examine(micrograph: Floats, *, tile_px: int, n_sigma: float = 5.0) -> tuple[Evidence, F32]:
    """Evidence, and which tiles are usable.

    Parameters
    ----------
    micrograph
        `(ny, nx)`.
    tile_px
        Edge of a tile; about a particle's diameter or somewhat more.
    n_sigma
        How many robust standard deviations make a tile an odd one.

    Returns
    -------
    The evidence and `(gy, gx)` float32, 1 where a tile is usable, 0 where it is not.

    References
    ----------
    Local mean and variance against carbon and dirt: Sanchez-Garcia et al., IUCrJ 7, 1040 (2020),
    doi 10.1107/S2052252520010945, without its network.
    """
    image = clip_outliers(micrograph, n_sigma=8.0)
    mean, variance = tile_statistics(image, tile_px)
    odd = odd_tiles(mean, variance, n_sigma=n_sigma)
    spectrum_px = 1 << int(np.log2(min(image.shape) // 2))
    power = tiled_power_spectrum(image, min(spectrum_px, 512))
    bragg, stripe, structure = _of_spectrum(power)
    uneven = float(np.std(np.log(np.maximum(variance, 1e-30))))
    return Evidence(1.0 - float(odd.mean()), uneven, structure, bragg, stripe), (~odd).astype(np.float32)


def _of_spectrum(power: Reals) -> tuple[float, float, float]:
    """Brightest spot over its ring, brightest direction over the dimmest, share of the middle frequencies."""
    n = power.shape[0]
    y, x = np.arange(n) - n // 2, np.arange(n // 2 + 1)
    radius = np.hypot(y[:, None], x[None, :])
    # Rows and columns through the origin hold the camera's stripes.
    valid = (np.abs(y)[:, None] > 1) & (x[None, :] > 1) & (radius < n // 2)
    ring = np.rint(radius).astype(np.int64)
    brightest = 0.0
    for r in range(max(n // 16, 4), n // 2):
        values = power[(ring == r) & valid]
        if values.size > 8:
            brightest = max(brightest, float(values.max() / max(np.median(values), 1e-30)))
    band = valid & (radius > n / 16) & (radius < n / 4)
    sector = np.floor(np.degrees(np.arctan2(y[:, None], np.maximum(x[None, :], 1e-9))) / 15.0 + 6.0).astype(np.int64)
    level = [float(np.mean(power[band & (sector == s)])) for s in range(12) if np.any(band & (sector == s))]
    fine = float(np.mean(power[valid & (radius > 0.35 * n)]))
    middle = valid & (radius > n / 64) & (radius < n / 6)
    excess = float(np.sum(np.maximum(power[middle] - fine, 0.0)))
    structure = excess / (excess + fine * float(valid.sum()))
    return brightest, max(level) / max(min(level), 1e-30), structure
