"""Sums of images over their whole posterior on the polar grid, no candidate chosen: the transpose of the scoring.

Where the posterior of an image is broad, thousands of poses share it and none may be left out. The weighted sum of an
image over in-plane angles is, for each order q, the image's series times that of the weights, so that all of it is a
matrix product over images, just as scoring is one over rings. Candidates of narrow posteriors are added one by one, in
`angular_sums`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.angular_search import Survivors, Table, waves
from cryoframe.numerics.angular_sums import PolarSums
from cryoframe.numerics.backend import native
from cryoframe.numerics.polar import PolarGrid, full_circle, shift_phases

Array = npt.NDArray[Any]

# Values of the weights' series that are gathered before they are multiplied: 64 MB.
_GATHERED_VALUES = 2**24


class Weights(NamedTuple):
    """Posterior of images over all poses of a table.

    `even`, `odd` `(p, m, k t)` float32: sum and difference of the probability at each angle below half a turn and at
    that half a turn on; `flat` `(p, m, k)`: the sum over translations; `total` `(m,)`: what they added up to before
    they were brought to one.
    """

    even: Array
    odd: Array
    flat: Array
    total: Array


def weigh(
    parts: tuple[Array, Array, Array],
    rows: Array,
    found: Survivors,
    *,
    log_reference: Array,
    log_shift: tuple[Array, Array],
    evidence_frac: float,
) -> Weights:
    """Posterior of some images over all poses.

    Parameters
    ----------
    parts
        From `angular_search.scores`.
    rows
        `(b,)` which of the images.
    found
        What `angular_search.chosen` made of the same parts; its evidence is the level that exponents are taken from.
    log_reference, log_shift
        Priors, as that function takes them.
    evidence_frac
        Independent samples per transform value.

    References
    ----------
    Posterior: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 5.
    """
    half, _, columns = parts[0].shape
    level = found.log_evidence[rows] + np.log(2.0 * half * columns)
    fast = native(np, "angular_soft")
    work = generic_weigh if fast is None else fast.weigh
    weights = work(np, parts, rows, level, log_reference=log_reference, log_shift=log_shift, scale=evidence_frac)
    total = weights.flat.sum(axis=(0, 2), dtype=np.float64)
    for values in weights[:3]:
        values /= total.astype(np.float32)[None, :, None]
    return weights._replace(total=total)


def generic_weigh(
    xp: ModuleType,
    parts: tuple[Array, Array, Array],
    rows: Array,
    level: Array,
    *,
    log_reference: Array,
    log_shift: tuple[Array, Array],
    scale: float,
) -> Weights:
    """Reference of the weights before they are brought to one; `level` `(b,)` is taken off every exponent."""
    even, odd, norm = (values[:, rows] for values in parts)
    half, b, k = norm.shape
    sides = []
    for sign in (1.0, -1.0):
        score = (even + sign * odd).reshape(half, b, k, -1) - norm[..., None]
        shift = (log_shift[0][None] + sign * log_shift[1])[:, rows]
        joint = scale * score + np.asarray(log_reference)[:, None] + shift[:, :, None]
        sides.append(np.exp(joint - level[:, None, None]).astype(np.float32))
    both = sides[0] + sides[1]
    shape = (half, b, even.shape[2])
    return Weights(both.reshape(shape), (sides[0] - sides[1]).reshape(shape), both.sum(axis=3), np.ones(b))


def variance(weights: Weights, table: Table, centres_px: Array) -> Array:
    """Mean square `(b,)` of the translation of each image [px^2], around `centres_px` `(b, 2)`, over its posterior."""
    tau, half, b = table.shifts_px, *weights.even.shape[:2]
    shape = (half, b, table.n_references, len(tau))
    alike = weights.even.reshape(shape).sum(axis=(0, 2))
    turning = weights.odd.reshape(shape).sum(axis=2)
    angle = np.radians(table.half_psi_deg)
    # A translation tau of the reference is R(-psi) tau of the image.
    x = np.outer(np.cos(angle), tau[:, 0]) + np.outer(np.sin(angle), tau[:, 1])
    y = np.outer(np.cos(angle), tau[:, 1]) - np.outer(np.sin(angle), tau[:, 0])
    mean = np.stack([np.einsum("pbt,pt->b", turning, x), np.einsum("pbt,pt->b", turning, y)], axis=1)
    own = (centres_px**2).sum(axis=1) + alike @ (tau**2).sum(axis=1)
    return np.asarray(own + 2.0 * (centres_px * mean).sum(axis=1))


class SoftSums:
    """Gathers the posteriors of images, and adds the images by them where :meth:`finish` says.

    Parameters
    ----------
    table
        That was searched.
    grid
        Rings summed, on the directions of the table.
    """

    def __init__(self, table: Table, grid: PolarGrid) -> None:
        self._table, self._grid = table, grid
        self._orders = range(grid.n_orders)
        self._columns = table.n_references * len(table.shifts_px)
        self._series: Array | None = None
        self._powers: Array | None = None
        self._waiting: list[tuple[Array, Array, Array, Array]] = []
        self._n_most = max(8, _GATHERED_VALUES // (2 * grid.n_orders * self._columns))

    def add(self, weights: Weights, values: Array, squares: Array) -> None:
        """Take images `(b, r, h)`, ``C X / sigma^2``, and their ``C^2 / sigma^2`` by their posteriors."""
        half, b, _ = weights.even.shape
        series = np.empty((len(self._orders), 2, b, self._columns), dtype=np.float32)
        for parity, part in ((0, weights.even), (1, weights.odd)):
            basis = waves(self._table, self._orders[parity::2]).T
            series[parity::2] = (basis @ part.reshape(half, -1)).reshape(-1, 2, b, self._columns)
        basis = waves(self._table, range(0, self._grid.n_half + 1, 2)).T
        powers = (basis @ weights.flat.reshape(half, -1)).reshape(-1, 2, b, self._table.n_references)
        images = np.fft.fft(full_circle(values), axis=-1)[:, :, : len(self._orders)]
        squared = np.fft.rfft(squares, axis=-1)[:, :, : len(powers)]
        self._waiting.append((series, images.astype(np.complex64), powers, squared.astype(np.complex64)))
        if sum(len(item[1]) for item in self._waiting) >= self._n_most:
            self._flush()

    def _flush(self) -> None:
        """Multiply what is gathered: products of few images would be bound by memory."""
        series, images, powers, squared = zip(*self._waiting, strict=True)
        self._waiting = []
        self._series = _multiplied(self._series, series, np.concatenate(images))
        self._powers = _multiplied(self._powers, powers, np.concatenate(squared))

    def finish(self, sums: PolarSums, half: int = 0) -> None:
        """Add what was gathered to the sums of one half of the images; nothing is left."""
        if self._waiting:
            self._flush()
        if self._series is None or self._powers is None:
            return
        grid, k, n_rings = self._grid, self._table.n_references, len(self._grid.rings)
        phases = shift_phases(grid, self._table.shifts_px)
        orders = np.arange(len(self._orders))
        signs = np.where(orders % 2, -1.0, 1.0).astype(np.float32)
        series = self._series.reshape(len(orders), k, len(phases), 2, n_rings)
        for reference in range(k):
            spectrum = np.zeros((len(phases), n_rings, grid.n_theta), dtype=np.complex64)
            own = series[:, reference, :, 0] + 1j * series[:, reference, :, 1]
            spectrum[..., : len(orders)] = np.moveaxis(own, 0, -1)
            # The other half circle is the conjugate: so are, but for a sign, negative orders of positive ones.
            spectrum[..., -1 : -len(orders) : -1] = spectrum[..., 1 : len(orders)].conj() * signs[1:]
            turned = np.fft.ifft(spectrum, axis=-1)[..., : grid.n_half] * phases
            sums.numerator[half, reference] += turned.sum(axis=0)
        powers = self._powers.reshape(-1, k, 2, n_rings)
        wave: Array = powers[:, :, 0] + 1j * powers[:, :, 1]
        sums.weight[half] += np.fft.irfft(np.moveaxis(wave, 0, -1), n=grid.n_half, axis=-1)
        self._series = self._powers = None


def _multiplied(before: Array | None, weights: tuple[Array, ...], images: Array) -> Array:
    """Products `(q, c, 2 r)` of weights `(q, 2, b, c)` with images `(m, r, q)`, added to those before."""
    n_orders, columns = weights[0].shape[0], weights[0].shape[3]
    n_rings = images.shape[1]
    total = np.zeros((n_orders, columns, 2 * n_rings), dtype=np.float32) if before is None else before
    for q in range(n_orders):
        left = np.concatenate([piece[q, side] for side in (0, 1) for piece in weights])
        own = images[:, :, q]
        right = np.block([[own.real, own.imag], [-own.imag, own.real]]).astype(np.float32)
        total[q] += left.T @ right
    return total
