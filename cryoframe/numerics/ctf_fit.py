"""Fit of defocus, astigmatism and phase shift to a power spectrum; spectra are made in ``spectrum``.

The observed spectrum, divided by a smooth background, is compared with the fringes −cos 2(γ − offset) of CTF². Both
are freed of everything that a slow polynomial of the frequency can describe, so the background need not be known; and
each ring is weighted by the fringe contrast found there, so that rings without signal cannot pull.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats, Ints, Reals, native
from cryoframe.numerics.ctf import amplitude_phase_rad, wavelength_A
from cryoframe.numerics.ctf_rings import SpectrumFit, describe
from cryoframe.numerics.optimise import minimise_simplex
from cryoframe.numerics.spectrum import off_axes

_N_BACKGROUND = 7
_N_SECTORS = 12
_N_CANDIDATES = 6
_CLIP_SIGMA = 4.0
#: Standard deviation over mean deviation of a normal distribution.
_MEAN_TO_SIGMA = 1.2533


@dataclass(frozen=True, slots=True)
class FitRange:
    """What is searched, and which rings are looked at.

    Parameters
    ----------
    low_A, high_A
        Coarsest and finest spacing used; the latter is kept to at least 2.1 pixels.
    defocus_min_A, defocus_max_A
        Bounds of the mean defocus, positive under focus.
    astigmatism_max_A
        Largest U − V of the coarse search; the refinement may go beyond.
    phase_shift_max_deg
        Phase shifts of a phase plate from 0 to this are searched; 0 = there is none.
    """

    low_A: float = 30.0
    high_A: float = 4.5
    defocus_min_A: float = 3000.0
    defocus_max_A: float = 50000.0
    astigmatism_max_A: float = 2000.0
    phase_shift_max_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class Lens:
    """Electron wavelength, spherical aberration and phase of the amplitude contrast, in the units of γ."""

    wavelength_A: float
    cs_A: float
    amplitude_rad: float

    @classmethod
    def of(cls, voltage_kV: float, cs_mm: float, amplitude_contrast: float) -> Lens:
        """Return the lens of these settings."""
        return cls(wavelength_A(voltage_kV), cs_mm * 1e7, amplitude_phase_rad(amplitude_contrast))

    def terms(self, point: Reals) -> Reals:
        """Factors of k², k² cos 2θ, k² sin 2θ, k⁴ and the constant of 2(γ − offset) at `point`."""
        slope = -2.0 * np.pi * self.wavelength_A
        fourth = np.pi * self.cs_A * self.wavelength_A**3
        mean, along, across, shift = point
        return np.array([slope * mean, slope * along, slope * across, fourth, -2.0 * (self.amplitude_rad + shift)])

    def doubled_phase(self, table: F32, point: Reals) -> Reals:
        """Return 2(γ − offset) of samples `(n, 4)` [rad]."""
        terms, wide = self.terms(point), table.astype(np.float64)
        doubled: Reals = wide[:, :3] @ terms[:3] + terms[3] * wide[:, 0] ** 2 + terms[4]
        return doubled


@dataclass(frozen=True)
class Samples:
    """Flattened spectrum samples: `table` `(n, 4)` of k², k² cos 2θ, k² sin 2θ, D; ring, weight; basis by ring."""

    table: F32
    ring: Ints
    weight: F32
    ring_k_1_A: Reals
    #: `(n_rings, m)`; orthonormal under the summed weights of the rings.
    basis: Reals
    #: Σ w D² of what the basis leaves.
    energy: float
    #: Flat index of each sample in the spectrum; empty for means over sectors.
    where: Ints

    @property
    def n_rings(self) -> int:
        """Number of rings."""
        return len(self.ring_k_1_A)


def flatten(power: Floats, pixel_size_A: float, *, low_A: float, high_A: float) -> Samples:
    """Samples of a power spectrum between two spacings, divided by their background, minus 1.

    Parameters
    ----------
    power
        `(n, n//2+1)` positive, centred half layout; power or amplitude.
    pixel_size_A
        Pixel of the image the spectrum is of.
    low_A, high_A
        Coarsest and finest spacing.

    Raises
    ------
    InvalidInput
        Where fewer than 16 rings lie between the spacings, or the spectrum is not finite and positive.
    """
    n = power.shape[0]
    kx = np.arange(n // 2 + 1)[None, :]
    ky = np.arange(n)[:, None] - n // 2
    radius = np.hypot(kx, ky)
    extent = n * pixel_size_A
    first, last = extent / low_A, extent / max(high_A, 2.1 * pixel_size_A)
    if last - first < 2 * _N_BACKGROUND + 2:
        raise InvalidInput(
            f"only {max(int(last - first), 0)} rings lie between {low_A} and {high_A} Å",
            expected=f"at least {2 * _N_BACKGROUND + 2}",
            remedy="Widen the range, or make the tiles larger.",
        )
    chosen = (radius >= first) & (radius < last) & off_axes(n)
    values = power[chosen].astype(np.float64)
    if not np.all(np.isfinite(values)) or values.min() <= 0:
        raise InvalidInput("the spectrum is not finite and positive", remedy="Check the micrograph for blank areas.")
    row, column = np.nonzero(chosen)
    x, y = column / extent, (row - n // 2) / extent
    ring = (radius[chosen] - np.floor(first)).astype(np.int64)
    ring_k = (np.floor(first) + 0.5 + np.arange(ring.max() + 1)) / extent
    observed = _over_background(values, ring, ring_k)
    table = np.stack([x * x + y * y, x * x - y * y, 2.0 * x * y, observed], axis=1)
    table[:, 3] -= _uneven_background(table, ring, _to_unit(ring_k))
    return sector_samples(table, ring, ring_k, np.ones(len(ring)), where=np.flatnonzero(chosen))


def _over_background(values: Reals, ring: Ints, ring_k: Reals) -> Reals:
    """`values` over a polynomial of log power by frequency, minus 1, with spikes clipped."""
    counts = np.bincount(ring, minlength=len(ring_k))
    profile = np.bincount(ring, values, minlength=len(ring_k)) / np.maximum(counts, 1)
    known = counts > 0
    unit = _to_unit(ring_k)
    coefficients = np.polynomial.legendre.legfit(
        unit[known], np.log(profile[known]), min(_N_BACKGROUND - 1, 5), w=np.sqrt(counts[known])
    )
    relative = values / np.exp(np.polynomial.legendre.legval(unit, coefficients))[ring] - 1.0
    spread = float(np.median(np.abs(relative - np.median(relative)))) * 1.4826
    # Strong rings are no spikes: where a ring as a whole goes further than noise does, so may its samples.
    of_ring = np.bincount(ring, np.abs(relative), len(ring_k)) / np.maximum(counts, 1) * _MEAN_TO_SIGMA
    limit = _CLIP_SIGMA * np.maximum(of_ring, spread)[ring]
    clipped: Reals = np.clip(relative, -limit, limit)
    return clipped


def _uneven_background(table: Reals, ring: Ints, unit: Reals) -> Reals:
    """Best cubic of the ring's frequency times cos 2θ and sin 2θ: drift and detector leave such a background."""
    cosine, sine = table[:, 1] / table[:, 0], table[:, 2] / table[:, 0]
    n, data = len(unit), table[:, 3]
    cubic = np.polynomial.legendre.legvander(unit, 3)
    cc, cs, ss, cd, sd = (
        np.bincount(ring, weights, n)
        for weights in (cosine * cosine, cosine * sine, sine * sine, cosine * data, sine * data)
    )
    blocks = [[(cubic.T * sums) @ cubic for sums in row] for row in ((cc, cs), (cs, ss))]
    found = np.linalg.solve(np.block(blocks), np.concatenate([cubic.T @ cd, cubic.T @ sd]))
    fitted: Reals = (cubic @ found[:4])[ring] * cosine + (cubic @ found[4:])[ring] * sine
    return fitted


def _to_unit(values: Reals) -> Reals:
    unit: Reals = 2.0 * (values - values[0]) / (values[-1] - values[0]) - 1.0
    return unit


def sector_samples(table: Reals, ring: Ints, ring_k: Reals, weight: Reals, *, where: Ints | None = None) -> Samples:
    """Put samples `(n, 4)` together: orthonormal background basis under the weights, and the data freed of it."""
    ring_weight = np.bincount(ring, weight, minlength=len(ring_k))
    powers = np.polynomial.legendre.legvander(_to_unit(ring_k), _N_BACKGROUND - 1)
    root = np.sqrt(ring_weight)[:, None]
    orthonormal, _ = np.linalg.qr(powers * root)
    basis = np.where(root > 0, orthonormal / np.where(root > 0, root, 1.0), 0.0)
    data = table[:, 3]
    background = basis @ (basis.T @ np.bincount(ring, weight * data, minlength=len(ring_k)))
    freed = table.copy()
    freed[:, 3] = data - background[ring]
    energy = float(np.sum(weight * freed[:, 3] ** 2))
    return Samples(
        table=freed.astype(np.float32),
        ring=ring.astype(np.int32),
        weight=weight.astype(np.float32),
        ring_k_1_A=ring_k,
        basis=basis,
        energy=max(energy, 1e-30),
        where=np.empty(0, dtype=np.int64) if where is None else where,
    )


def sector_of(samples: Samples, n_sectors: int) -> Ints:
    """Number of the sector of half a turn that each sample lies in, from 0."""
    theta = 0.5 * np.arctan2(samples.table[:, 2], samples.table[:, 1])
    sector: Ints = np.floor((theta / np.pi + 0.5) * n_sectors).astype(np.int64) % n_sectors
    return sector


def by_sector(samples: Samples, n_sectors: int = _N_SECTORS, *, parity: int | None = None) -> Samples:
    """Means over sectors of each ring: a coarse stand-in, hundreds of times quicker to compare with.

    With `parity` 0 or 1, those of every other sector only: two halves whose noise is independent.
    """
    sector = sector_of(samples, n_sectors)
    weight = samples.weight if parity is None else samples.weight * (sector % 2 == parity)
    cell = samples.ring.astype(np.int64) * n_sectors + sector
    count = np.bincount(cell, weight, minlength=samples.n_rings * n_sectors)
    used = np.flatnonzero(count)
    means = [
        np.bincount(cell, weight * samples.table[:, i], minlength=len(count))[used] / count[used] for i in range(4)
    ]
    present = count[used].astype(np.float64)
    return sector_samples(np.stack(means, axis=1), used // n_sectors, samples.ring_k_1_A, present)


def fringe_sums(table: F32, ring: Ints, weight: F32, terms: Reals, ring_sum: Reals) -> tuple[float, float]:
    """Reference of the compiled loop of the same name: Σ w·M a ring into `ring_sum`; returns Σ w·M², Σ w·M·D."""
    k2 = table[:, 0].astype(np.float64)
    doubled = terms[0] * k2 + terms[1] * table[:, 1] + terms[2] * table[:, 2] + terms[3] * k2 * k2 + terms[4]
    fringe = -np.cos(doubled)
    ring_sum[:] = np.bincount(ring, weight * fringe, minlength=len(ring_sum))
    return float(np.sum(weight * fringe * fringe)), float(np.sum(weight * fringe * table[:, 3]))


def correlation(samples: Samples, lens: Lens, point: Reals) -> float:
    """Correlation of data and fringes, both freed of the background, at `point`: mean, along, across [Å], shift [rad].

    ``along`` and ``across`` are ½(U − V) times cos and sin of twice the angle, so no angle is undefined.
    """
    ring_sum = np.empty(samples.n_rings)
    module = native(np, "ctf_fit")
    sums = fringe_sums if module is None else module.fringe_sums
    square, product = sums(samples.table, samples.ring, samples.weight, lens.terms(point), ring_sum)
    left = square - float(np.sum((samples.basis.T @ ring_sum) ** 2))
    return float(product / np.sqrt(samples.energy * left)) if left > 1e-6 * square else 0.0


def scan(samples: Samples, lens: Lens, point: Reals, means: Reals) -> Reals:
    """:func:`correlation` at `point` with each of the evenly spaced mean defoci `means` `(m,)`."""
    module = native(np, "ctf_fit")
    if module is None:
        return np.array([correlation(samples, lens, np.array([mean, *point[1:]])) for mean in means])
    terms = lens.terms(np.array([means[0], *point[1:]]))
    step = float(lens.terms(np.array([means[1], *point[1:]]))[0] - terms[0])
    ring_sums, sums = np.empty((len(means), samples.n_rings)), np.empty((len(means), 2))
    module.scan_sums(samples.table, samples.ring, samples.weight, terms, step, ring_sums, sums)
    left = sums[:, 0] - np.sum((ring_sums @ samples.basis) ** 2, axis=1)
    norm = np.sqrt(samples.energy * np.maximum(left, 1e-30))
    scores: Reals = np.where(left > 1e-6 * sums[:, 0], sums[:, 1] / norm, 0.0)
    return scores


def coarse_search(samples: Samples, lens: Lens, limits: FitRange) -> list[Reals]:
    """Best few starting points: every mean defocus, with and without astigmatism, on the sector means."""
    step = 0.25 / (lens.wavelength_A * float(samples.ring_k_1_A[-1]) ** 2)
    n_steps = max(int(np.ceil((limits.defocus_max_A - limits.defocus_min_A) / min(step, 200.0))), 2)
    means = np.linspace(limits.defocus_min_A, limits.defocus_max_A, n_steps)
    shifts = _phase_shifts(limits)
    found: list[tuple[float, tuple[float, ...]]] = []
    for along, across in _astigmatisms(limits, n_levels=1 if len(shifts) > 1 else 3):
        for shift in shifts:
            scores = scan(samples, lens, np.array([0.0, along, across, shift]), means)
            at = int(np.argmax(scores))
            found.append((float(scores[at]), (float(means[at]), along, across, shift)))
            inner = np.flatnonzero((scores[1:-1] > scores[:-2]) & (scores[1:-1] >= scores[2:])) + 1
            for other in inner[np.argsort(-scores[inner], kind="stable")][1:3]:
                found.append((float(scores[other]), (float(means[other]), along, across, shift)))
    found.sort(key=lambda item: (-item[0], item[1]))
    return [np.array(point) for _, point in found[:_N_CANDIDATES]]


def _astigmatisms(limits: FitRange, *, n_levels: int) -> list[tuple[float, float]]:
    points = [(0.0, 0.0)]
    for level in range(1, n_levels):
        half = 0.5 * limits.astigmatism_max_A * level / n_levels
        points += [(half * np.cos(a), half * np.sin(a)) for a in np.arange(4) * np.pi / 2 + level * np.pi / 4]
    return points


def _phase_shifts(limits: FitRange) -> list[float]:
    if limits.phase_shift_max_deg <= 0:
        return [0.0]
    n_steps = int(np.ceil(limits.phase_shift_max_deg / 20.0))
    return [float(np.radians(shift)) for shift in np.linspace(0.0, limits.phase_shift_max_deg, n_steps + 1)]


def refine(samples: Samples, lens: Lens, start: Reals, *, step_A: float, with_phase: bool) -> tuple[Reals, float]:
    """Best point near `start` and its correlation."""
    n_free = 4 if with_phase else 3
    scale = np.array([step_A, step_A, step_A, 0.2])[:n_free]
    fixed = start[n_free:]

    def cost(offset: Reals) -> float:
        return -correlation(samples, lens, np.concatenate([start[:n_free] + offset * scale, fixed]))

    found = minimise_simplex(cost, np.zeros(n_free), step=1.0, tolerance=1e-2, max_evaluations=400)
    return np.concatenate([start[:n_free] + found.position * scale, fixed]), -found.value


def weigh_rings(samples: Samples, lens: Lens, point: Reals) -> Samples:
    """Samples weighted by the fringe contrast around each ring, found with the fit at `point`."""
    fringe = -np.cos(lens.doubled_phase(samples.table, point))
    data = samples.table[:, 3].astype(np.float64)
    n = samples.n_rings
    width = max(n // 16, 3)
    kernel = np.hanning(2 * width + 1)
    product = np.convolve(np.bincount(samples.ring, fringe * data, n), kernel, mode="same")
    square = np.convolve(np.bincount(samples.ring, fringe * fringe, n), kernel, mode="same")
    contrast = np.maximum(product / np.maximum(square, 1e-12), 0.0)
    contrast = np.maximum(contrast / max(float(contrast.max()), 1e-12), 0.01)
    return sector_samples(
        samples.table.astype(np.float64), samples.ring.astype(np.int64), samples.ring_k_1_A, contrast[samples.ring]
    )


@dataclass(frozen=True)
class FittedPoint:
    """Where a fit ended: mean, along, across [Å], phase shift [rad], and what it was fitted to."""

    point: Reals
    score: float
    samples: Samples
    lens: Lens


def fit_point(power: Floats, pixel_size_A: float, lens: Lens, limits: FitRange) -> FittedPoint:
    """Best point for a power spectrum; parameters as :func:`fit_spectrum`."""
    samples = flatten(power, pixel_size_A, low_A=limits.low_A, high_A=limits.high_A)
    with_phase = limits.phase_shift_max_deg > 0
    sectors = by_sector(samples)
    step = 0.25 / (lens.wavelength_A * float(samples.ring_k_1_A[-1]) ** 2)
    best = refined_start(sectors, lens, limits)
    best, _ = refine(samples, lens, best, step_A=0.3 * step, with_phase=with_phase)
    weighted = weigh_rings(samples, lens, best)
    best, _ = refine(weighted, lens, best, step_A=0.2 * step, with_phase=with_phase)
    return FittedPoint(best, correlation(samples, lens, best), samples, lens)


def refined_start(sectors: Samples, lens: Lens, limits: FitRange) -> Reals:
    """Best point of the sector means alone: the coarse search, and every candidate refined."""
    step = 0.25 / (lens.wavelength_A * float(sectors.ring_k_1_A[-1]) ** 2)
    found = [
        refine(sectors, lens, start, step_A=step, with_phase=limits.phase_shift_max_deg > 0)
        for start in coarse_search(sectors, lens, limits)
    ]
    return max(found, key=lambda item: item[1])[0]


def fit_spectrum(
    power: Floats,
    pixel_size_A: float,
    *,
    voltage_kV: float,
    cs_mm: float,
    amplitude_contrast: float,
    limits: FitRange | None = None,
) -> SpectrumFit:
    """Fit defocus, astigmatism and, where asked for, phase shift to a power spectrum.

    Parameters
    ----------
    power
        `(n, n//2+1)` positive, centred half layout; power or amplitude.
    pixel_size_A
        Pixel of the image the spectrum is of.
    voltage_kV, cs_mm, amplitude_contrast
        Settings of the microscope.
    limits
        Search and frequency range.

    Raises
    ------
    InvalidInput
        See :func:`flatten`.

    References
    ----------
    Search and score: Rohou & Grigorieff, J. Struct. Biol. 192, 216 (2015), doi 10.1016/j.jsb.2015.08.008. Removing the
    background from both sides is the variable projection of Golub & Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).
    """
    limits = limits or FitRange()
    fitted = fit_point(power, pixel_size_A, Lens.of(voltage_kV, cs_mm, amplitude_contrast), limits)
    # Judged on all rings there are, so that the resolution is not that of the range the fit was asked to use.
    every = flatten(power, pixel_size_A, low_A=limits.low_A, high_A=0.0)
    return describe(every, fitted, n=power.shape[0], high_A=limits.high_A)
