"""Round particles of about known size in a micrograph, by matched filters; peaks of any image are in ``peaks``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf
from cryoframe.numerics.backend import F32, Bools, Complexes, Floats, Ints, Reals
from cryoframe.numerics.fourier import fourier_crop, good_size, irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.masks import grow
from cryoframe.numerics.peaks import keep_apart, local_maxima
from cryoframe.numerics.spectrum import clip_outliers, robust_scale

_PIXELS_ACROSS = 16
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Transfer:
    """The microscope as the filter needs to know it; the defocus is the mean of the two."""

    voltage_kV: float
    cs_mm: float
    amplitude_contrast: float
    defocus_A: float
    phase_shift_deg: float = 0.0

    def at(self, k: Floats) -> Reals:
        """CTF at frequencies `k` [1/Å]."""
        return np.asarray(
            ctf.ctf_1d(
                k,
                voltage_kV=self.voltage_kV,
                cs_mm=self.cs_mm,
                amplitude_contrast=self.amplitude_contrast,
                defocus_A=self.defocus_A,
                phase_shift_deg=self.phase_shift_deg,
            ),
            dtype=np.float64,
        )


def shrink(micrograph: Floats, pixel_size_A: float, diameter_A: float, *, n_threads: int = 1) -> F32:
    """Fourier-crop an image so that a particle is some 16 pixels across; positions scale by the ratio of the sides."""
    ratio = min(pixel_size_A * _PIXELS_ACROSS / diameter_A, 1.0)
    shape = (max(round(micrograph.shape[0] * ratio), 2), max(round(micrograph.shape[1] * ratio), 2))
    return fourier_crop(micrograph, shape, n_threads=n_threads).astype(np.float32)


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


def background_power(ft: Complexes, ring: Ints, n_rings: int) -> Reals:
    """Radial power `(n_rings,)` as a parabola in the logarithm of the frequency.

    So smooth that the particles' own power hardly enters: a filter divided by that would undo the particle's shape.
    """
    power = (ft.real.astype(np.float64) ** 2 + ft.imag.astype(np.float64) ** 2).ravel()
    count = np.bincount(ring.ravel(), minlength=n_rings)[1:]
    mean = np.bincount(ring.ravel(), power, n_rings)[1:] / np.maximum(count, 1)
    radius = np.arange(1, n_rings)
    known = (count > 0) & (mean > 0)
    # Weights that make every octave count alike.
    line = np.polynomial.polynomial.polyfit(
        np.log(radius[known]), np.log(mean[known]), 2, w=1.0 / np.sqrt(radius[known])
    )
    logarithm = np.polynomial.polynomial.polyval(np.log(np.maximum(np.arange(n_rings), 1)), line)
    smooth: Reals = np.exp(logarithm)
    return smooth


def score_map(
    image: Floats,
    pixel_size_A: float,
    *,
    outer_A: float,
    inner_A: float = 0.0,
    transfer: Transfer | None = None,
    cutoff: float = 2.5,
) -> F32:
    """Signal-to-noise ratio of a particle of one size at every pixel.

    Parameters
    ----------
    image
        `(ny, nx)`, particles bright, without outliers.
    pixel_size_A
        Its pixel.
    outer_A, inner_A
        Radii of the particle and of its hollow.
    transfer
        The micrograph's CTF; None looks for the particle as it would be in focus with positive contrast.
    cutoff
        Frequencies beyond about this many per diameter are left out: there, particles are not round.

    Returns
    -------
    `(ny, nx)` float32 in robust standard deviations of the map itself.

    References
    ----------
    Matched filter in coloured noise: North, Proc. IEEE 51, 1016 (1963), doi 10.1109/PROC.1963.2383.
    """
    ny, nx = image.shape
    margin = round(2.0 * outer_A / pixel_size_A)
    shape = (good_size(ny + margin), good_size(nx + margin))
    canvas = np.pad(image - image.mean(), [(0, shape[0] - ny), (0, shape[1] - nx)], mode="symmetric")
    ft = rfft2(canvas.astype(np.float32))
    k = frequencies_1_A(shape, pixel_size_A, centred_half=False)
    ring = np.rint(k * (max(shape) * pixel_size_A)).astype(np.int64)
    n_rings = int(ring.max()) + 1
    ring_k = np.arange(n_rings) / (max(shape) * pixel_size_A)
    wanted = shell(ring_k, outer_A, inner_A) * np.exp(-0.5 * (ring_k * 2.0 * outer_A / cutoff) ** 2)
    if transfer is not None:
        wanted = wanted * transfer.at(ring_k)
    weight = wanted / background_power(ft, ring, n_rings)
    weight[0] = 0.0
    filtered = irfft2(ft * weight.astype(np.float32)[ring], shape)[:ny, :nx]
    centre, spread = robust_scale(filtered)
    score: F32 = ((filtered - centre) / spread).astype(np.float32)
    return score


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
    scales: tuple[float, ...] = (0.75, 1.0)
    threshold: float = 3.5
    distance_A: float = 0.0
    false_frac: float = 0.5
    junk_sd: float = 5.0


def find_blobs(
    micrograph: Floats, pixel_size_A: float, search: Search, *, transfer: Transfer | None = None, n_threads: int = 1
) -> tuple[Reals, Reals]:
    """Positions of round particles in a micrograph.

    Parameters
    ----------
    micrograph
        `(ny, nx)` as recorded, particles dark.
    pixel_size_A, transfer
        Its pixel and CTF.
    search
        What is looked for.
    n_threads
        Worker threads of the FFT.

    Returns
    -------
    `(m, 2)` (x, y) [Å from the centre of pixel 0] and `(m,)` scores [standard deviations], highest first.

    Notes
    -----
    Noise makes as many bright peaks as dark ones; so the bright ones that are not the fringe of a pick say how many of
    the picks are noise, and the threshold is raised until these are few.
    """
    clipped = -clip_outliers(micrograph, n_sigma=4.0)
    image = shrink(clipped, pixel_size_A, search.diameter_A * min(search.scales), n_threads=n_threads)
    step_A = np.array([pixel_size_A * micrograph.shape[1 - i] / image.shape[1 - i] for i in range(2)])
    pixel_A = float(step_A.mean())
    maps = [
        score_map(
            image,
            pixel_A,
            outer_A=0.5 * search.diameter_A * scale,
            inner_A=0.5 * search.inner_diameter_A * scale,
            transfer=transfer,
        )
        for scale in search.scales
    ]
    apart_px = (search.distance_A or 0.6 * search.diameter_A) / pixel_A
    dark, scores = _peaks(np.max(maps, axis=0), search.threshold, apart_px)
    bright, mirrored = _peaks(np.max([-one for one in maps], axis=0), search.threshold, apart_px)
    junk = junk_area(image, dark, search.diameter_A / pixel_A, n_sigma=search.junk_sd)
    clean = ~_values_at(junk, dark)
    dark, scores = dark[clean], scores[clean]
    near = _near(dark, image.shape, search.diameter_A / pixel_A) | junk
    lone = mirrored[~_values_at(near, bright)]
    free_frac = max(1.0 - float(near.mean()), 0.1)
    chosen = scores >= threshold_for(scores, lone, search.false_frac * free_frac)
    return dark[chosen] * step_A, scores[chosen]


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


def junk_area(image: Floats, peaks_px: Reals, diameter_px: float, *, n_sigma: float) -> Bools:
    """Where the image, averaged over half a particle, is too dark or too bright to be ice with particles.

    Parameters
    ----------
    image
        `(ny, nx)`.
    peaks_px
        `(m, 2)` candidates (x, y): a deviation that is usual among them is not junk.
    diameter_px
        Of the particle.
    n_sigma
        How many standard deviations, of the image or of the candidates, whichever is more, are too many.

    Returns
    -------
    `(ny, nx)` bool, grown by half a diameter around contamination, carbon edges and cracks.
    """
    ny, nx = image.shape
    margin = round(2 * diameter_px)
    shape = (good_size(ny + margin), good_size(nx + margin))
    canvas = np.pad(image, [(0, shape[0] - ny), (0, shape[1] - nx)], mode="symmetric").astype(np.float32)
    k = frequencies_1_A(shape, 1.0, centred_half=False)
    envelope = np.exp(-2.0 * (np.pi * k * 0.25 * diameter_px) ** 2).astype(np.float32)
    smooth = irfft2(rfft2(canvas) * envelope, shape)[:ny, :nx]
    centre, spread = robust_scale(smooth)
    if len(peaks_px):
        spread = max(spread, float(np.median(np.abs(_values_at(smooth, peaks_px) - centre))))
    outside = np.abs(smooth - centre) > n_sigma * spread
    return grow(outside, 0.5 * diameter_px) if outside.any() else outside
