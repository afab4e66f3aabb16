"""Round particles of about known size in a micrograph, by matched filters; peaks of any image are in ``peaks``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Floats, Reals
from cryoframe.numerics.matched_filter import (
    Canvas,
    Transfer,
    expected_maxima,
    first_guess_power,
    noise_power,
    prepare,
    z_map,
)
from cryoframe.numerics.pick_choice import CANDIDATE_SD, Search, choose, near_positions, peaks_apart

__all__ = ["Found", "Search", "Transfer", "ball", "find_blobs", "noise_beside", "shell"]

_PIXELS_ACROSS = 16
#: Frequencies beyond about this many per diameter are left out: there, particles are not round.
_CUTOFF = 2.5


def ball(k: Floats, radius_A: float) -> Reals:
    """Transform of a uniform ball (so of its projection) of unit volume at frequencies `k` [1/Å].

    References
    ----------
    3·(sin x − x·cos x)/x³ with x = 2π·k·r: Rayleigh, Proc. R. Soc. A 84, 25 (1910), doi 10.1098/rspa.1910.0054.
    """
    x = 2.0 * np.pi * np.maximum(np.asarray(k, dtype=np.float64), 1e-12) * radius_A
    series = 1.0 - x * x / 10.0
    exact = 3.0 * (np.sin(x) - x * np.cos(x)) / np.maximum(x, 1e-3) ** 3
    return np.where(x < 1e-2, series, exact)


def shell(k: Floats, outer_A: float, inner_A: float) -> Reals:
    """Transform of a ball with a concentric hollow of radius `inner_A`, of unit volume."""
    if not 0 <= inner_A < outer_A:
        raise InvalidInput(f"a shell from {inner_A} to {outer_A} Å was asked for", expected="0 ≤ inner < outer")
    hole = (inner_A / outer_A) ** 3
    return np.asarray((ball(k, outer_A) - hole * ball(k, inner_A)) / (1.0 - hole) if hole else ball(k, outer_A))


class Found(NamedTuple):
    """Positions `(m, 2)` (x, y) [Å], z-values `(m,)`, highest first, and how many peaks noise alone would give."""

    positions_A: Reals
    z: Reals
    n_by_chance: float


def find_blobs(
    micrograph: Floats, pixel_size_A: float, search: Search, *, transfer: Transfer | None = None, n_threads: int = 1
) -> Found:
    """Positions of round particles in a micrograph.

    Parameters
    ----------
    micrograph
        `(ny, nx)` as recorded, particles dark.
    pixel_size_A, transfer
        Its pixel and CTF; without CTF, particles are looked for as they would be in focus with positive contrast.
    search
        What is looked for.
    n_threads
        Worker threads of the FFT.

    Notes
    -----
    See :func:`noise_beside` for the standard deviation, :func:`cryoframe.numerics.pick_choice.choose` for the choice.
    """
    canvas = prepare(
        micrograph,
        pixel_size_A,
        small_pixel_A=search.diameter_A * min(search.scales) / _PIXELS_ACROSS,
        margin_A=search.diameter_A,
        n_threads=n_threads,
    )
    power, free = noise_beside(canvas, search, transfer)
    filters = [_filter(canvas, search, scale, transfer, power) for scale in search.scales]
    maps = [z_map(canvas, one, free) for one in filters]
    dark, opposite = (
        peaks_apart(score, search.threshold, search.apart_px(canvas))
        for score in (np.max(maps, axis=0), -np.min(maps, axis=0))
    )
    picked, _ = choose(canvas, dark, opposite, search, threshold=search.threshold)
    chosen, z = dark[0][picked], dark[1][picked]
    least = max(float(z.min()) if len(z) else search.threshold, 1.5)
    by_chance = sum(expected_maxima(least, weight=one, power=power, canvas=canvas) for one in filters)
    return Found(canvas.to_A(chosen), z, by_chance)


def noise_beside(canvas: Canvas, search: Search, transfer: Transfer | None) -> tuple[Reals, Bools | None]:
    """Noise power `(r,)` of each ring, and the pixels `(ny, nx)` it was taken from; None = all, too few being free.

    It is taken twice: of the whole image, to find candidates, then of what is further than 0.6 diameters from any of
    them, so that neither the noise's spectrum nor its standard deviation is that of the particles.
    """
    power = first_guess_power(canvas)
    maps = [z_map(canvas, _filter(canvas, search, scale, transfer, power)) for scale in search.scales]
    candidates, _ = peaks_apart(np.max(maps, axis=0), CANDIDATE_SD, search.apart_px(canvas))
    free = ~near_positions(candidates, canvas.image.shape, 0.6 * search.diameter_A / canvas.pixel_A)
    found = noise_power(canvas, free)
    return (power, None) if found is None else (found, free)


def _filter(canvas: Canvas, search: Search, scale: float, transfer: Transfer | None, power: Reals) -> Reals:
    """Matched filter `(r,)` of one size: what is looked for over the power of the noise."""
    k, diameter_A = canvas.ring_k_1_A, search.diameter_A * scale
    wanted = shell(k, 0.5 * diameter_A, 0.5 * search.inner_diameter_A * scale)
    wanted = wanted * np.exp(-0.5 * (k * diameter_A / _CUTOFF) ** 2)
    if transfer is not None:
        wanted = wanted * transfer.at(k)
    weight: Reals = wanted / power
    weight[0] = 0.0
    return weight
