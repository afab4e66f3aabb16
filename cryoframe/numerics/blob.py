"""Round particles of about known size in a micrograph, by matched filters; peaks of any image are in ``peaks``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats, Reals
from cryoframe.numerics.fourier import irfft2
from cryoframe.numerics.masks import grow
from cryoframe.numerics.matched_filter import (
    Canvas,
    Transfer,
    expected_maxima,
    first_guess_power,
    noise_power,
    prepare,
    z_map,
)
from cryoframe.numerics.peaks import keep_apart, local_maxima
from cryoframe.numerics.spectrum import robust_scale

__all__ = ["Found", "Search", "Transfer", "ball", "find_blobs", "junk_area", "shell", "threshold_for"]

_PIXELS_ACROSS = 16
#: Peaks above this many standard deviations are kept out of the noise, and say what is usual among particles.
_CANDIDATE_SD = 3.5
#: Frequencies beyond about this many per diameter are left out: there, particles are not round.
_CUTOFF = 2.5
_Scalar = TypeVar("_Scalar", bound=np.generic)


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


@dataclass(frozen=True, slots=True)
class Search:
    """What :func:`find_blobs` looks for.

    Parameters
    ----------
    diameter_A, inner_diameter_A
        Of the particle and of its hollow, 0 where it has none.
    scales
        Sizes tried, as multiples of the diameter.
    threshold
        Least score [standard deviations].
    distance_A
        Least distance of two picks.
    false_frac
        The threshold is raised until mirrored (bright) peaks are no more than this fraction of the picks.
    junk_sd
        Areas whose low-passed grey value is further from the median than this many standard deviations are left out.
    """

    diameter_A: float
    inner_diameter_A: float = 0.0
    scales: tuple[float, ...] = (1.0, 0.9, 0.8)
    threshold: float = 4.0
    distance_A: float = 0.0
    false_frac: float = 0.5
    junk_sd: float = 5.0


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
    The noise is taken twice: of the whole image, then of what is further than 0.6 diameters from any candidate, so that
    neither its spectrum nor its standard deviation is that of the particles. Where there is nothing else, noise makes
    as many bright peaks as dark ones; the bright ones that are not the fringe of a pick say how many of the picks are
    noise, and the threshold is raised until these are few.
    """
    diameter_A = search.diameter_A
    canvas = prepare(
        micrograph,
        pixel_size_A,
        small_pixel_A=diameter_A * min(search.scales) / _PIXELS_ACROSS,
        margin_A=diameter_A,
        n_threads=n_threads,
    )
    diameter_px = diameter_A / canvas.pixel_A
    apart_px = (search.distance_A or 0.6 * diameter_A) / canvas.pixel_A
    maps, filters, power = _scored(canvas, search, transfer, apart_px)
    dark, scores = _peaks(np.max(maps, axis=0), search.threshold, apart_px)
    bright, mirrored = _peaks(np.max([-one for one in maps], axis=0), search.threshold, apart_px)
    junk = junk_area(canvas, dark[scores > _CANDIDATE_SD], diameter_px, n_sigma=search.junk_sd)
    clean = ~_values_at(junk, dark)
    dark, scores = dark[clean], scores[clean]
    near = _near(dark, canvas.image.shape, diameter_px) | junk
    lone = mirrored[~_values_at(near, bright)]
    free_frac = max(1.0 - float(near.mean()), 0.1)
    threshold = threshold_for(scores, lone, search.false_frac * free_frac)
    chosen = scores >= threshold
    least = max(float(scores[chosen].min()) if chosen.any() else search.threshold, 1.5)
    by_chance = sum(expected_maxima(least, weight=one, power=power, canvas=canvas) for one in filters)
    return Found(canvas.to_A(dark[chosen]), scores[chosen], by_chance)


def _scored(
    canvas: Canvas, search: Search, transfer: Transfer | None, apart_px: float
) -> tuple[list[F32], list[Reals], Reals]:
    """Maps of z for each scale, the filters they were made with, and the noise power these are for."""
    power = first_guess_power(canvas)
    filters = [_filter(canvas, search, scale, transfer, power) for scale in search.scales]
    maps = [z_map(canvas, one) for one in filters]
    candidates, _ = _peaks(np.max(maps, axis=0), _CANDIDATE_SD, apart_px)
    free = ~_near(candidates, canvas.image.shape, 0.6 * search.diameter_A / canvas.pixel_A)
    found = noise_power(canvas, free)
    if found is None:
        return maps, filters, power
    filters = [_filter(canvas, search, scale, transfer, found) for scale in search.scales]
    return [z_map(canvas, one, free) for one in filters], filters, found


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


def _values_at(image: NDArray[_Scalar], positions: Reals) -> NDArray[_Scalar]:
    at = np.rint(positions).astype(np.int64)
    values: NDArray[_Scalar] = image[at[:, 1], at[:, 0]]
    return values


def _peaks(score: F32, threshold: float, apart_px: float) -> tuple[Reals, Reals]:
    positions, values = local_maxima(score, threshold=threshold)
    kept = keep_apart(positions, apart_px)
    return positions[kept], values[kept]


def _near(positions: Reals, shape: tuple[int, ...], distance_px: float) -> Bools:
    """Pixels no further than `distance_px` from any of the positions."""
    at = np.zeros(shape, dtype=bool)
    if not len(positions):
        return at
    row, column = np.rint(positions[:, 1]).astype(np.int64), np.rint(positions[:, 0]).astype(np.int64)
    at[row, column] = True
    return grow(at, distance_px)


def threshold_for(scores: Reals, mirrored: Reals, false_frac: float) -> float:
    """Least threshold at which peaks of the wrong sign are surely no more than `false_frac` of those of the right one.

    Surely: their number plus two of its Poisson deviations, taken from the number plus one.

    References
    ----------
    Target–decoy: Elias & Gygi, Nat. Methods 4, 207 (2007), doi 10.1038/nmeth1019.
    """
    ordered = np.sort(scores)
    for i, threshold in enumerate(ordered):
        n_wrong = int(np.sum(mirrored >= threshold))
        if n_wrong + 2.0 * np.sqrt(n_wrong + 1.0) <= false_frac * (len(ordered) - i):
            return float(threshold)
    return np.inf


def junk_area(canvas: Canvas, candidates_px: Reals, diameter_px: float, *, n_sigma: float) -> Bools:
    """Where the image, averaged over half a particle, is too dark or too bright to be ice with particles.

    Parameters
    ----------
    canvas
        The small image and its transform.
    candidates_px
        `(m, 2)` candidates (x, y): a deviation that is usual among them is not junk.
    diameter_px
        Of the particle.
    n_sigma
        How many standard deviations, of the image or of the candidates, whichever is more, are too many.

    Returns
    -------
    `(ny, nx)` bool, grown by half a diameter around contamination, carbon edges and cracks.
    """
    ny, nx = canvas.image.shape
    width_A = 0.25 * diameter_px * canvas.pixel_A
    envelope = np.exp(-2.0 * (np.pi * canvas.k_1_A * width_A) ** 2).astype(np.float32)
    smooth = irfft2(canvas.ft * envelope, canvas.shape)[:ny, :nx]
    centre, spread = robust_scale(smooth)
    if len(candidates_px):
        spread = max(spread, float(np.median(np.abs(_values_at(smooth, candidates_px) - centre))))
    outside = np.abs(smooth - centre) > n_sigma * spread
    return grow(outside, 0.5 * diameter_px) if outside.any() else outside
