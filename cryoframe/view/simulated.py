"""A simulated micrograph for people: as it is, its spectrum beside the true CTF, what is where. Arrays in, RGB out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.twin import ExposureTruth
from cryoframe.numerics.ctf import ctf
from cryoframe.numerics.spectrum import clip_outliers, full_of_half, tiled_power_spectrum
from cryoframe.view import pictures

Rgb = NDArray[np.uint8]
#: Circles of the overlay by truth class (Okabe & Ito 2008, as in ``plots``).
CIRCLES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {"particle": (86, 180, 233), "aggregate": (213, 94, 0), "broken": (230, 159, 0), "contamination": (204, 121, 167)}
)
GAP_PX = 6
#: The spectrum is drawn to this spacing, averaged over 2·ARC + 1 of the sectors of half a turn.
FINEST_A, N_SECTORS, ARC = 5.0, 90, 6


def overview(micrograph: NDArray[np.float32], truth: ExposureTruth, *, radius_A: float, width_px: int = 420) -> Rgb:
    """Lay three panels side by side.

    Parameters
    ----------
    micrograph
        `(ny, nx)`, frames aligned and summed, gain-corrected.
    truth
        Of the exposure.
    radius_A
        Of the circles.
    width_px
        Of a panel.

    Returns
    -------
    `(h, w, 3)` uint8: the micrograph; its power spectrum, observed on the left and the square of the true CTF on the
    right; the micrograph again with a circle on each particle, its colour by class, and a bar of 500 Å.
    """
    pixel_A = truth.exposure.pixel_size_A * truth.exposure.shape_px[0] / micrograph.shape[0]
    clean = clip_outliers(micrograph, n_sigma=5.0)
    small = pictures.shrink(clean, width_px)
    step = max(1, -(-max(micrograph.shape) // width_px))
    grey = _rgb(pictures.stretch(small))
    height = grey.shape[0]
    rings = _rgb(_rings(clean, truth, pixel_A, height))
    marked = _marked(grey.copy(), truth, radius_A=radius_A, scale_px_A=1.0 / (pixel_A * step))
    gap = np.full((height, GAP_PX, 3), 255, dtype=np.uint8)
    return np.concatenate([grey, gap, rings, gap, marked], axis=1)


def _rgb(grey: NDArray[np.uint8]) -> Rgb:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _rings(micrograph: NDArray[np.float32], truth: ExposureTruth, pixel_A: float, edge_px: int) -> NDArray[np.uint8]:
    """Draw the spectrum, smoothed along circles and without its trend, and the square of the true CTF beside it."""
    tile = min(512, min(micrograph.shape) // 2 * 2)
    power = full_of_half(tiled_power_spectrum(micrograph, tile, overlap_frac=0.75))
    ky, kx = np.meshgrid(*[(np.arange(tile) - tile // 2) / (tile * pixel_A)] * 2, indexing="ij")
    exposure, optics = truth.exposure, truth.optics
    true = ctf(
        kx,
        ky,
        voltage_kV=optics.voltage_kV,
        cs_mm=optics.cs_mm,
        amplitude_contrast=optics.amplitude_contrast_frac,
        defocus_u_A=exposure.defocus_u_A,
        defocus_v_A=exposure.defocus_v_A,
        defocus_angle_deg=exposure.defocus_angle_deg,
        phase_shift_deg=exposure.phase_shift_deg,
    )
    reach = min(tile // 2, round(tile * pixel_A / FINEST_A))
    kept = slice(tile // 2 - reach, tile // 2 + reach)
    observed = _unit(_flattened(power, kx, ky, n_px=tile)[kept, kept])
    cut = np.where(kx[kept, kept] < 0, observed, np.asarray(true)[kept, kept] ** 2)
    at = (np.arange(edge_px) * cut.shape[0]) // edge_px
    return np.asarray(np.clip(255 * cut[np.ix_(at, at)], 0, 255), dtype=np.uint8)


def _flattened(
    power: NDArray[np.float64], kx: NDArray[np.float64], ky: NDArray[np.float64], *, n_px: int
) -> NDArray[np.float64]:
    """Average along arcs, leave the axes out (readout stripes), and divide by the trend along the radius."""
    radius = np.hypot(kx, ky) / kx.max() * (n_px / 2 - 1)
    ring = np.minimum(radius.astype(np.int64), n_px // 2 - 1)
    sector = (np.arctan2(ky, kx) % np.pi / np.pi * N_SECTORS).astype(np.int64) % N_SECTORS
    used = (np.abs(np.arange(n_px) - n_px // 2) > 1).astype(np.float64)
    weight = np.outer(used, used)
    cell = (ring * N_SECTORS + sector).ravel()
    sums = [
        np.bincount(cell, values.ravel(), minlength=n_px // 2 * N_SECTORS).reshape(-1, N_SECTORS)
        for values in (power * weight, weight)
    ]
    together = [sum(np.roll(one, move, axis=1) for move in range(-ARC, ARC + 1)) for one in sums]
    smooth = np.asarray(together[0]) / np.maximum(np.asarray(together[1]), 1e-9)
    mean = sums[0].sum(axis=1) / np.maximum(sums[1].sum(axis=1), 1e-9)
    width = n_px // 24
    padded = np.pad(np.log(np.maximum(mean, 1e-12)), width, mode="edge")
    trend = np.exp(np.convolve(padded, np.ones(2 * width + 1) / (2 * width + 1), mode="valid"))
    return np.asarray((smooth / trend[:, None])[ring, sector], dtype=np.float64)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.quantile(values, [0.03, 0.97])
    return np.asarray(np.clip((values - low) / max(float(high - low), 1e-12), 0.0, 1.0), dtype=np.float64)


def _marked(panel: Rgb, truth: ExposureTruth, *, radius_A: float, scale_px_A: float) -> Rgb:
    table = truth.particles
    ny, nx = panel.shape[:2]
    turn = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    places = zip(table.floats("x_A"), table.floats("y_A"), table.column("truth_class"), strict=True)
    for x_A, y_A, kind in places:
        for radius in (radius_A * scale_px_A, radius_A * scale_px_A + 1):
            x = np.round(x_A * scale_px_A + radius * np.cos(turn)).astype(int)
            y = np.round(y_A * scale_px_A + radius * np.sin(turn)).astype(int)
            inside = (x >= 0) & (y >= 0) & (x < nx) & (y < ny)
            panel[y[inside], x[inside]] = CIRCLES.get(str(kind), (255, 255, 255))
    length = round(500.0 * scale_px_A)
    panel[ny - 12 : ny - 7, 10 : 10 + length] = 255
    return panel
