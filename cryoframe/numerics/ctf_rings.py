"""What a CTF fit shows for people and for judging it: ring profile, fit resolution, picture. No fitting here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryoframe.numerics.backend import F32, Floats, Ints, Reals
from cryoframe.numerics.spectrum import full_of_half

if TYPE_CHECKING:
    from cryoframe.numerics.ctf_fit import FittedPoint, Lens, Samples

_AGREE = 0.5
#: Rings must agree somewhere before this multiple of the coarsest frequency.
_BEGUN_BY = 4.0
#: The profile goes on to this multiple of the frequency up to which the rings agree, so that their end is seen.
_SHOWN_BEYOND = 1.3


@dataclass(frozen=True)
class SpectrumFit:
    """Result of :func:`fit_spectrum`.

    Parameters
    ----------
    defocus_u_A, defocus_v_A, defocus_angle_deg, phase_shift_deg
        As everywhere: U ≥ V, positive under focus; angle of U in [0, 180) from the x towards the y axis.
    score
        Correlation of flattened spectrum and fringes, at most 1.
    fit_resolution_A
        Finest spacing to which observed and fitted rings agree.
    profile
        `(3, n)` float32: frequency [1/Å], observed and fitted ring profile, averaged along lines of equal phase; the
        fitted one at the observed amplitude of each neighbourhood. It ends a little beyond the rings that agree.
    picture
        `(n, n)` float32: flattened spectrum with the fit in its right half.
    """

    defocus_u_A: float
    defocus_v_A: float
    defocus_angle_deg: float
    phase_shift_deg: float
    score: float
    fit_resolution_A: float
    profile: F32
    picture: F32


def equal_phase_k(samples: Samples, lens: Lens, point: Reals) -> Reals:
    """Frequency [1/Å] at which the mean defocus alone has the phase each sample has.

    References
    ----------
    Equi-phase averaging: Zhang, J. Struct. Biol. 193, 1 (2016), doi 10.1016/j.jsb.2015.11.003.
    """
    terms, table = lens.terms(point), samples.table.astype(np.float64)
    phase = table[:, :3] @ terms[:3] + terms[3] * table[:, 0] ** 2
    # The smaller root of terms3·q² + terms0·q = phase, in the form that does not cancel.
    root = np.sqrt(np.maximum(terms[0] ** 2 + 4.0 * terms[3] * phase, 0.0))
    k2 = -2.0 * phase / (abs(terms[0]) + root)
    k: Reals = np.sqrt(np.clip(k2, 0.0, None))
    return k


def ring_profile(samples: Samples, lens: Lens, point: Reals) -> tuple[F32, Reals]:
    """Observed and fitted means along lines of equal phase.

    Returns
    -------
    `(3, n)` float32, frequency [1/Å], observed, fitted on the observed scale; and `(n,)` samples in each mean.
    """
    ring_k = samples.ring_k_1_A
    at = np.rint((equal_phase_k(samples, lens, point) - ring_k[0]) / (ring_k[1] - ring_k[0])).astype(np.int64)
    inside = (at >= 0) & (at < len(ring_k))
    count = np.bincount(at[inside], minlength=len(ring_k))
    share = np.maximum(count, 1)
    observed = np.bincount(at[inside], samples.table[inside, 3], len(ring_k)) / share
    fringe = -np.cos(lens.doubled_phase(samples.table, point))
    fitted = np.bincount(at[inside], fringe[inside], len(ring_k)) / share
    scale = float(np.sum(count * observed * fitted) / max(float(np.sum(count * fitted**2)), 1e-12))
    return np.stack([ring_k, observed, scale * fitted]).astype(np.float32), count.astype(np.float64)


def fit_resolution_A(profile: Floats, *, fringe_k2_1_A2: float) -> float:
    """Finest spacing to which observed and fitted profile agree.

    Parameters
    ----------
    profile
        `(3, n)` as in :func:`ring_profile`.
    fringe_k2_1_A2
        Distance of two rings in k²; the correlation is taken over windows of one and a half of these.

    Returns
    -------
    The spacing at which the local correlation first stays below 0.5 for a whole window; the coarsest spacing where
    it never was above.

    References
    ----------
    Rohou & Grigorieff, J. Struct. Biol. 192, 216 (2015), doi 10.1016/j.jsb.2015.08.008, section 2.6.
    """
    k, observed, fitted = np.asarray(profile, dtype=np.float64)
    local = local_correlation(k, observed, fitted, width_k2_1_A2=1.5 * fringe_k2_1_A2)
    agree = np.flatnonzero(local >= _AGREE)
    # The background is least known at the coarse end: there the first agreement may be waited for.
    if not agree.size or k[agree[0]] > _BEGUN_BY * k[0]:
        return float(1.0 / k[0])
    finest = int(agree[0])
    low, high = _windows(k, 1.5 * fringe_k2_1_A2)
    for i in agree:
        if i - finest > max(high[finest] - low[finest], 4):
            break
        finest = int(i)
    return float(1.0 / k[finest])


def _windows(k: Reals, width_k2_1_A2: float) -> tuple[Ints, Ints]:
    """First index and end of the window around each ring, `(n,)`: its width in k², and at least seven rings."""
    index = np.arange(len(k))
    low, high = (np.searchsorted(k**2, k**2 + sign * 0.5 * width_k2_1_A2) for sign in (-1.0, 1.0))
    return np.maximum(np.minimum(low, index - 3), 0), np.minimum(np.maximum(high, index + 4), len(k))


def _sums(values: Reals, windows: tuple[Ints, Ints]) -> Reals:
    """Sum of `values` over each window."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    total: Reals = running[windows[1]] - running[windows[0]]
    return total


def _moments(observed: Reals, fitted: Reals, windows: tuple[Ints, Ints]) -> tuple[Reals, Reals, Reals, Reals, Reals]:
    """Means of both, and sums of squares and product about these, in each window."""
    n = (windows[1] - windows[0]).astype(np.float64)
    a, b = _sums(observed, windows) / n, _sums(fitted, windows) / n
    aa, bb = _sums(observed**2, windows) - n * a * a, _sums(fitted**2, windows) - n * b * b
    return a, b, aa, bb, _sums(observed * fitted, windows) - n * a * b


def local_correlation(k: Reals, observed: Reals, fitted: Reals, *, width_k2_1_A2: float) -> Reals:
    """Correlation coefficient of two profiles in a sliding window, `(n,)`."""
    _, _, aa, bb, ab = _moments(observed, fitted, _windows(k, width_k2_1_A2))
    norm = np.sqrt(np.maximum(aa, 0.0) * np.maximum(bb, 0.0))
    values: Reals = np.where(norm > 1e-12, ab / np.maximum(norm, 1e-12), 0.0)
    return values


def picture(samples: Samples, lens: Lens, point: Reals, *, n: int, last_1_A: float) -> F32:
    """Flattened spectrum, smoothed over 3×3 samples, with the fit in its right half, `(m, m)` float32 in [−1, 1].

    `n` is the edge of the tile the spectrum is of; the picture is cropped to frequencies up to `last_1_A`.
    """
    step = samples.ring_k_1_A[1] - samples.ring_k_1_A[0]
    reach = min(int(np.ceil(min(float(samples.ring_k_1_A[-1]), last_1_A) / step)) + 2, n // 2)
    row, column = samples.where // (n // 2 + 1) - n // 2, samples.where % (n // 2 + 1)
    shown = (np.abs(row) < reach) & (column <= reach)
    left, right = np.zeros((2 * reach, reach + 1)), np.zeros((2 * reach, reach + 1))
    table = samples.table[shown]
    left[row[shown] + reach, column[shown]] = table[:, 3]
    right[row[shown] + reach, column[shown]] = -np.cos(lens.doubled_phase(table, point))
    left, right = full_of_half(left), full_of_half(right)
    smooth = sum(np.roll(left, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9.0
    scale = float(np.percentile(np.abs(smooth), 98)) or 1.0
    both = np.where(np.arange(2 * reach) < reach, np.clip(smooth / scale, -1.0, 1.0), right)
    return both.astype(np.float32)


def at_observed_amplitude(profile: Floats, *, fringe_k2_1_A2: float) -> F32:
    """Profile whose fitted curve has, ring by ring, amplitude and offset of the observed one around that ring.

    Parameters
    ----------
    profile
        `(3, n)` as in :func:`ring_profile`.
    fringe_k2_1_A2
        Distance of two rings in k²; a neighbourhood is one and a half of these. Where observed and fitted rings
        disagree the amplitude is 0, never negative.
    """
    k, observed, fitted = np.asarray(profile, dtype=np.float64)
    a, b, _, bb, ab = _moments(observed, fitted, _windows(k, 1.5 * fringe_k2_1_A2))
    amplitude = np.maximum(ab / np.maximum(bb, 1e-30), 0.0)
    return np.stack([k, observed, a + amplitude * (fitted - b)]).astype(np.float32)


def axis_angle_deg(along: float, across: float) -> float:
    """Angle in [0, 180) of an axis given by cos and sin of twice the angle, also as float32."""
    angle = float(np.float32(np.degrees(0.5 * np.arctan2(across, along)) % 180.0))
    return angle if angle < 180.0 else 0.0


def describe(samples: Samples, fitted: FittedPoint, *, n: int, high_A: float, thickness_A: float = 0.0) -> SpectrumFit:
    """Turn the fitted point into angles, resolution, profile and picture.

    Parameters
    ----------
    samples
        Every ring of the spectrum.
    n
        Edge of the tile the spectrum is of.
    high_A
        Finest spacing fitted to.
    thickness_A
        Of the ice, where it is known; rings beyond its node are expected inverted.
    """
    lens, point = fitted.lens, fitted.point
    mean, along, across, shift = (float(value) for value in point)
    half = float(np.hypot(along, across))
    profile, _ = ring_profile(samples, lens, point)
    profile[2] *= np.sign(np.sinc(lens.wavelength_A * profile[0] ** 2 * thickness_A))
    fringe_k2 = 1.0 / (lens.wavelength_A * max(abs(mean), 1.0))
    finest_A = fit_resolution_A(profile, fringe_k2_1_A2=fringe_k2)
    shown = at_observed_amplitude(profile, fringe_k2_1_A2=fringe_k2)
    return SpectrumFit(
        defocus_u_A=mean + half,
        defocus_v_A=mean - half,
        defocus_angle_deg=axis_angle_deg(along, across),
        phase_shift_deg=float(np.degrees(shift)) % 180.0,
        score=fitted.score,
        fit_resolution_A=finest_A,
        profile=shown[:, shown[0] <= max(1.0 / high_A, _SHOWN_BEYOND / finest_A)],
        picture=picture(samples, lens, point, n=n, last_1_A=max(1.4 / finest_A, 0.1)),
    )
