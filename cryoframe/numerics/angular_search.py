"""Posterior of images over references, in-plane angles and translations, by angular Fourier series; no averages here.

On polar samples the score of all in-plane angles at once is, for each order q, a matrix product over rings, followed by
one short transform over q. Translations move the references: a reference turned by psi and moved by s is the reference
moved by tau = R(psi) s and then turned, so that one set of moved references serves every image and angle.

Scores are those of `pose_search`: ``Re sum conj(Y) P - sum W |P|^2`` over a half plane, ``Y = 2 C X / sigma^2``,
``W = C^2 / sigma^2``. Compiled loops give the same bits on any number of threads; matrix products do where BLAS runs on
one thread, as it does in every worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.backend import native
from cryoframe.numerics.polar import PolarGrid, full_circle, shift_phases

Array = npt.NDArray[Any]

#: Highest order of ``|P|^2`` against the squared CTF: astigmatism makes orders 2, 4, ...
NORM_ORDERS = 4
#: Log-likelihood below the best at which a candidate is left out: exp(-12) is 6e-6.
CUTOFF = 12.0
# Scores of a batch stay in the fast part of memory.
_BATCH_VALUES = 2**21


class Targets(NamedTuple):
    """What images ask of references on the grid: `values` `(m, r, h)` complex64 ``Y``, `weights` `(m, r, h)` ``W``.

    `centres_px` `(m, 2)`: translations that were applied to the values already.
    """

    values: Array
    weights: Array
    centres_px: Array


class Prior(NamedTuple):
    """Log-probability `(k,)` of the references, and deviation of a translation from none [px]; infinite for flat."""

    log_reference: Array
    sigma_px: float = float("inf")


class Survivors(NamedTuple):
    """Candidates that hold the posterior of each image, the image's rows one after the other.

    `image`, `reference`, `psi` (step of the grid), `shift` (row of the table's translations) and `probability` `(c,)`;
    of each image: `log_evidence` `(m,)`, the log of its likelihood ratio to no particle, and `lost` `(m,)`, the share
    of the posterior that was left out.
    """

    image: Array
    reference: Array
    psi: Array
    shift: Array
    probability: Array
    log_evidence: Array
    lost: Array

    def pick(self, candidates: Array) -> Survivors:
        """Return some of the candidates."""
        image, reference, psi, shift, probability = (column[candidates] for column in self[:5])
        return Survivors(image, reference, psi, shift, probability, self.log_evidence, self.lost)


@dataclass(frozen=True)
class Table:
    """References as the products need them.

    Attributes
    ----------
    grid
        Polar frequencies.
    shifts_px
        `(t, 2)`: translations of the references, tau.
    series
        For each order, `(2, 2 r, k t)` float32: what gives the real and imaginary part of the products.
    powers
        For each even order of ``|P|^2``, the same without translations.
    n_references
        k.
    psi_stride
        Every so many angles of the grid are scored, 1 or 2.
    """

    grid: PolarGrid
    shifts_px: Array
    series: tuple[Array, ...]
    powers: tuple[Array, ...]
    n_references: int
    psi_stride: int = 1

    @property
    def half_psi_deg(self) -> Array:
        """Angles scored below half a turn [degrees]."""
        return self.grid.psi_deg[: self.grid.n_half : self.psi_stride]


def _stacked(coefficients: Array) -> Array:
    """`(2, 2 r, c)` such that `[Re Y, Im Y]` times it is the real and the imaginary part of ``sum conj(Y) P``."""
    real, imaginary = coefficients.real, coefficients.imag
    return np.stack([np.concatenate([real, imaginary]), np.concatenate([imaginary, -real])]).astype(np.float32)


def make_table(references: Array, grid: PolarGrid, shifts_px: Array, *, psi_stride: int = 1) -> Table:
    """Lay out references for :func:`search`.

    Parameters
    ----------
    references
        `(k, r, n_theta/2)` complex64 on the grid.
    grid
        Of the references.
    shifts_px
        `(t, 2)` translations to try around each image's centre.
    psi_stride
        1 to score every angle of the grid, 2 for every second.

    References
    ----------
    Angular series: Penczek, Grassucci & Frank, Ultramicroscopy 53, 251 (1994); Rangan, Spivak, Andén & Barnett, Inverse
    Problems 36, 024001 (2020), doi:10.1088/1361-6420/ab2aec.
    """
    # An image moved by s matches P where P moved by -tau matches the image: the conjugate of the image's own factor.
    phases = shift_phases(grid, -np.asarray(shifts_px))
    n_references, n_rings = references.shape[:2]
    columns = n_references * len(shifts_px)
    spectra = np.empty((n_rings, grid.n_orders, columns), dtype=np.complex64)
    for ring in range(n_rings):
        moved = (references[:, None, ring] * phases[None, :, ring]).reshape(columns, -1)
        spectra[ring] = np.fft.fft(full_circle(moved), axis=-1)[:, : grid.n_orders].T
    power = np.fft.fft(full_circle(np.abs(references) ** 2 + 0j), axis=-1)
    series = tuple(_stacked(spectra[_first_ring(grid, q) :, q]) for q in range(grid.n_orders))
    powers = tuple(_stacked(power[:, :, q].T) for q in range(0, NORM_ORDERS + 1, 2))
    return Table(grid, np.asarray(shifts_px, dtype=np.float64), series, powers, n_references, psi_stride)


def _first_ring(grid: PolarGrid, order: int) -> int:
    """First ring that an order reaches."""
    return int(np.searchsorted(grid.last_orders, order))


def _parts(values: Array, grid: PolarGrid, orders: range) -> list[Array]:
    """`[Re, Im]` of the weighted series of `values` `(m, r, h)`, one `(m, 2 r)` for each order."""
    spectra = np.fft.fft(full_circle(values), axis=-1)
    # Half of the full circle is the half plane; positive orders stand for negative ones too.
    scaled = spectra * (grid.areas[None, :, None] / grid.n_theta)
    parts = []
    for q in orders:
        column = scaled[:, _first_ring(grid, q) :, q] * (1.0 if q else 0.5)
        parts.append(np.concatenate([column.real, column.imag], axis=1).astype(np.float32))
    return parts


def waves(table: Table, orders: range) -> Array:
    """`(p, 2 q)` float32: cosines and sines that turn the products of orders into scores below half a turn."""
    angle = np.radians(table.half_psi_deg)[:, None] * np.asarray(orders)[None, :]
    return np.stack([np.cos(angle), -np.sin(angle)], axis=-1).reshape(len(angle), -1).astype(np.float32)


def scores(targets: Targets, table: Table) -> tuple[Array, Array, Array]:
    """Scores of images against all references, translations and angles.

    Parameters
    ----------
    targets
        Of m images.
    table
        Of k references and t translations.

    Returns
    -------
    Three float32 arrays: parts of even and of odd order, `(p, m, k t)` each — their sum is the first term of the score
    at the p angles below half a turn, their difference at those above — and the second term `(p, m, k)`, the same for
    both.
    """
    grid, m = table.grid, len(targets.values)
    columns = table.series[0].shape[2]
    both = []
    for parity in (0, 1):
        orders = range(parity, grid.n_orders, 2)
        products = np.empty((len(orders), 2, m, columns), dtype=np.float32)
        for place, (q, part) in enumerate(zip(orders, _parts(targets.values, grid, orders), strict=True)):
            np.matmul(part, table.series[q], out=products[place])
        both.append((waves(table, orders) @ products.reshape(2 * len(orders), -1)).reshape(-1, m, columns))
    orders = range(0, NORM_ORDERS + 1, 2)
    full = [
        np.matmul(part, power)
        for part, power in zip(_all_rings(targets.weights, grid, orders), table.powers, strict=True)
    ]
    norm = waves(table, orders) @ np.stack(full).reshape(2 * len(orders), -1)
    return both[0], both[1], norm.reshape(-1, m, table.n_references)


def _all_rings(weights: Array, grid: PolarGrid, orders: range) -> list[Array]:
    spectra = np.fft.rfft(np.concatenate([weights, weights], axis=-1), axis=-1) * (
        grid.areas[None, :, None] / grid.n_theta
    )
    parts = [spectra[:, :, q] * (1.0 if q else 0.5) for q in orders]
    return [np.concatenate([part.real, part.imag], axis=1).astype(np.float32) for part in parts]


def batches(n_images: int, table: Table) -> Iterator[slice]:
    """Images to score at a time, of a size that depends on the table alone."""
    columns = max(table.series[0].shape[2], 1)
    step = int(np.clip(_BATCH_VALUES // (columns * table.grid.n_half), 8, 256))
    for start in range(0, n_images, step):
        yield slice(start, min(start + step, n_images))


def search(targets: Targets, table: Table, prior: Prior, *, evidence_frac: float = 1.0, n_most: int = 512) -> Survivors:
    """Posterior of each image over references, in-plane angles and translations.

    Parameters
    ----------
    targets, table
        As in :func:`scores`, of as many images as :func:`batches` says.
    prior
        Of references and translations.
    evidence_frac
        Independent samples per transform value, below 1 where a mask correlates neighbouring frequencies.
    n_most
        Candidates kept for each image at most, the most probable ones. Candidates whose posterior is below
        ``exp(-CUTOFF)`` of the best are left out in any case; what is lost is said.

    References
    ----------
    Posterior: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 5.
    """
    shift = shift_prior(targets.centres_px, table, prior.sigma_px)
    parts = scores(targets, table)
    return chosen(parts, table, prior.log_reference, shift, evidence_frac=evidence_frac, n_most=n_most)


def chosen(
    parts: tuple[Array, Array, Array],
    table: Table,
    log_reference: Array,
    log_shift: tuple[Array, Array],
    *,
    evidence_frac: float,
    n_most: int,
    depths: tuple[float, float] = (CUTOFF, CUTOFF),
) -> Survivors:
    """Candidates of images by their scores.

    Parameters
    ----------
    parts
        From :func:`scores`.
    log_reference, log_shift
        Priors; the second from :func:`shift_prior`.
    evidence_frac, n_most
        As in :func:`search`.
    depths
        How far below the best one a candidate may lie, and a pose that still counts for the evidence and for what is
        lost, in log-probability.

    References
    ----------
    Definition.
    """
    fast = native(np, "angular_search")
    choose = generic_choose if fast is None else fast.choose
    count, index, probability, evidence, lost = choose(
        np, parts, log_reference, log_shift, evidence_frac=evidence_frac, n_most=n_most, depths=depths
    )
    image = np.repeat(np.arange(len(count)), count)
    keep = np.arange(index.shape[1])[None, :] < count[:, None]
    n_shifts = len(table.shifts_px)
    psi, column = np.divmod(index[keep], table.n_references * n_shifts)
    psi = psi * table.psi_stride
    return Survivors(image, column // n_shifts, psi, column % n_shifts, probability[keep], evidence, lost)


def shift_prior(centres_px: Array, table: Table, sigma_px: float) -> tuple[Array, Array]:
    """Log-prior of the whole translation: `(m, t)` the part without, `(p, m, t)` with dependence on psi.

    The second changes sign where psi grows by half a turn.
    """
    tau = table.shifts_px
    if not np.isfinite(sigma_px):
        flat = np.zeros((len(table.half_psi_deg), len(centres_px), len(tau)), dtype=np.float32)
        return flat[0], flat
    own = (centres_px**2).sum(axis=1)[:, None] + (tau**2).sum(axis=1)[None]
    turned = turn(centres_px[None], table.half_psi_deg[:, None])
    cross = turned @ tau.T
    return (-0.5 * own / sigma_px**2).astype(np.float32), (-cross / sigma_px**2).astype(np.float32)


def turn(vectors: Array, psi_deg: Array) -> Array:
    """Vectors `(..., 2)` of the image's frame in that of a reference seen at psi: R(psi)."""
    angle = np.radians(psi_deg)
    c, s = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([x * c - y * s, x * s + y * c], axis=-1)


def image_shifts(found: Survivors, table: Table, centres_px: Array) -> Array:
    """Translations `(c, 2)` to apply to the images of candidates."""
    return np.asarray(centres_px[found.image] + turn(table.shifts_px[found.shift], -table.grid.psi_deg[found.psi]))


def generic_choose(
    xp: ModuleType,
    parts: tuple[Array, Array, Array],
    log_reference: Array,
    log_shift: tuple[Array, Array],
    *,
    evidence_frac: float,
    n_most: int,
    depths: tuple[float, float] = (CUTOFF, CUTOFF),
) -> tuple[Array, Array, Array, Array, Array]:
    """Reference of the choice of candidates.

    Returns
    -------
    Candidates of each image `(m,)`; their flat place in (psi, reference, translation) `(m, n_most)` int64, in the order
    of places, and probability; log-evidence and lost share `(m,)`.
    """
    even, odd, norm = parts
    half, m = even.shape[:2]
    k, t = len(log_reference), log_shift[0].shape[1]
    joint = np.empty((2, half, m, k, t), dtype=np.float32)
    for side, sign in enumerate((1.0, -1.0)):
        score = (even + sign * odd).reshape(half, m, k, t) - norm[..., None]
        shift = log_shift[0][None] + sign * log_shift[1]
        joint[side] = evidence_frac * score + np.asarray(log_reference)[:, None] + shift[:, :, None]
    flat = np.moveaxis(joint, 2, 0).reshape(m, -1).astype(np.float64)
    gain = flat - flat.max(axis=1, keepdims=True)
    total = np.where(gain > -depths[1], np.exp(gain), 0.0).sum(axis=1)
    count, index = np.zeros(m, np.int64), np.zeros((m, n_most), np.int64)
    probability = np.zeros((m, n_most), np.float32)
    lost = np.zeros(m)
    for i in range(m):
        best = np.sort(np.argsort(-gain[i], kind="stable")[:n_most])
        best = best[gain[i, best] > -depths[0]]
        share = np.exp(gain[i, best])
        count[i], index[i, : len(best)] = len(best), best
        probability[i, : len(best)] = share / share.sum()
        lost[i] = 1.0 - share.sum() / total[i]
    return count, index, probability, flat.max(axis=1) + np.log(total / flat.shape[1]), lost
