"""Which peaks of a score become picks: apart, not in junk, above what chance gives; the score is its maker's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cryoframe.numerics.backend import F32, Bools, Reals
from cryoframe.numerics.fourier import irfft2
from cryoframe.numerics.masks import grow
from cryoframe.numerics.matched_filter import Canvas
from cryoframe.numerics.peaks import keep_apart, local_maxima
from cryoframe.numerics.spectrum import robust_scale

#: Peaks above this many standard deviations are kept out of the noise, and say what is usual among particles.
CANDIDATE_SD = 3.5
#: Positions `(m, 2)` and scores `(m,)`.
Peaks = tuple[Reals, Reals]
#: Least distance of two picks unless another is stated, in diameters.
DISTANCE_DIAMETERS = 0.6
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and what is taken for it.

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

    def apart_px(self, canvas: Canvas) -> float:
        """Least distance of two picks in pixels of the small image, the smaller side; 0.6 diameters unless stated."""
        return (self.distance_A or DISTANCE_DIAMETERS * self.diameter_A) / float(canvas.step_A.min())


def choose(
    canvas: Canvas, candidates: Peaks, opposite: Peaks, search: Search, *, threshold: float
) -> tuple[Bools, float]:
    """Picks among candidates.

    Parameters
    ----------
    canvas
        The small image.
    candidates, opposite
        Positions `(m, 2)` (x, y) [px of the small image] and scores `(m,)`, highest first: of particles, and of the
        same in the opposite contrast, of which there are none.
    search
        What is looked for.
    threshold
        Least score.

    Returns
    -------
    `(m,)` which candidates are picks, and the threshold.

    Notes
    -----
    Where there is nothing else, noise makes as many peaks of the opposite contrast; those that are not the fringe of a
    pick say how many of the picks are noise, and the threshold is raised until these are few.
    """
    diameter_px = search.diameter_A / canvas.pixel_A
    positions, scores = candidates
    usual = positions[scores > max(CANDIDATE_SD, threshold)]
    junk = junk_area(canvas, usual, diameter_px, n_sigma=search.junk_sd)
    clean = ~_values_at(junk, positions) & (scores >= threshold)
    near = near_positions(positions[clean], canvas.image.shape, diameter_px) | junk
    lone = opposite[1][~_values_at(near, opposite[0])]
    free_frac = max(1.0 - float(near.mean()), 0.1)
    raised = threshold_for(scores[clean], lone[lone >= threshold], search.false_frac * free_frac)
    return clean & (scores >= raised), max(raised, threshold)


def _values_at(image: NDArray[_Scalar], positions: Reals) -> NDArray[_Scalar]:
    at = np.rint(positions).astype(np.int64)
    values: NDArray[_Scalar] = image[at[:, 1], at[:, 0]]
    return values


def peaks_apart(score: F32, threshold: float, apart_px: float) -> Peaks:
    """Peaks above a threshold, highest first, without those too near a higher one."""
    positions, values = local_maxima(score, threshold=threshold)
    kept = keep_apart(positions, apart_px)
    return positions[kept], values[kept]


def near_positions(positions: Reals, shape: tuple[int, ...], distance_px: float) -> Bools:
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
