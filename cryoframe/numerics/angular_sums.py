"""Weighted sums of images by reference on the polar grid, and the filtered references they give; no scoring here."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.angular_search import Survivors
from cryoframe.numerics.backend import native
from cryoframe.numerics.polar import PolarGrid, shift_phases

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PolarSums:
    """Sums of two halves of the images, added to in place.

    Attributes
    ----------
    numerator
        `(2, k, r, n_theta/2)` complex64: sum of ``C X / sigma^2``.
    weight
        `(2, k, r, n_theta/2)` float32: sum of ``C^2 / sigma^2``.
    """

    numerator: Array
    weight: Array


def empty_sums(n_references: int, grid: PolarGrid) -> PolarSums:
    """Return zero sums."""
    shape = (2, n_references, len(grid.rings), grid.n_half)
    return PolarSums(np.zeros(shape, dtype=np.complex64), np.zeros(shape, dtype=np.float32))


def add(
    sums: PolarSums,
    values: Array,
    weights: Array,
    found: Survivors,
    *,
    grid: PolarGrid,
    shifts_px: Array,
    half: Array,
) -> None:
    """Add images to the references they are candidates of, turned and moved into the references' frame.

    Parameters
    ----------
    sums
        Added to in place.
    values, weights
        `(m, r, n_theta/2)`: ``C X / sigma^2`` and ``C^2 / sigma^2``.
    found
        Candidates of these m images.
    grid, shifts_px
        Those of the table that was searched.
    half
        `(m,)` 0 or 1: which half of the images each belongs to.

    Notes
    -----
    Each reference has one owner, which adds its candidates in order: sums are equal to the last bit for any number of
    threads.

    References
    ----------
    Maximisation step: Scheres, J. Mol. Biol. 415, 406 (2012), eq. 3.
    """
    order = np.argsort(found.reference, kind="stable")
    phases = shift_phases(grid, np.asarray(shifts_px))
    bounds = np.searchsorted(found.reference[order], np.arange(sums.numerator.shape[1] + 1))
    fast = native(np, "angular_sums")
    spread = generic_add if fast is None else fast.add
    columns = (found.image[order], found.psi[order], found.shift[order], found.probability[order])
    spread(np, sums, values, weights, columns, bounds=bounds, phases=phases, half=np.asarray(half))


def generic_add(
    xp: ModuleType,
    sums: PolarSums,
    values: Array,
    weights: Array,
    columns: tuple[Array, Array, Array, Array],
    *,
    bounds: Array,
    phases: Array,
    half: Array,
) -> None:
    """Reference of :func:`add`; `columns` are sorted by reference and `bounds` `(k + 1,)` tell where each begins."""
    n_half = values.shape[-1]
    for k in range(len(bounds) - 1):
        for c in range(bounds[k], bounds[k + 1]):
            i, psi, shift, share = (column[c] for column in columns)
            whole = np.concatenate([values[i], values[i].conj()], axis=-1)
            turned = np.roll(whole, psi, axis=-1)[:, :n_half] * phases[shift]
            square = np.roll(np.concatenate([weights[i], weights[i]], axis=-1), psi, axis=-1)[:, :n_half]
            sums.numerator[half[i], k] += share * turned
            sums.weight[half[i], k] += share * square


def ring_ssnr(sums: PolarSums) -> Reals:
    """Signal to noise ratio `(k, r)` of each reference by ring, from the correlation of its two halves.

    References
    ----------
    Saxton & Baumeister, J. Microsc. 127, 127 (1982); Unser, Trus & Steven, Ultramicroscopy 23, 39 (1987).
    """
    floor = 0.1 * sums.weight.mean(axis=(2, 3), keepdims=True) + 1e-30
    one, two = (sums.numerator[h] / (sums.weight[h] + floor[h]) for h in range(2))
    terms = ((one * two.conj()).real, np.abs(one) ** 2, np.abs(two) ** 2)
    cross, power, other = (_smooth(term.sum(axis=2, dtype=np.float64)) for term in terms)
    correlation = np.clip(cross / np.sqrt(np.maximum(power * other, 1e-30)), 0.0, 0.999)
    return np.asarray(2.0 * correlation / (1.0 - correlation))


def _smooth(rings: Reals) -> Reals:
    """Sums over three neighbouring rings."""
    wide = np.pad(rings, ((0, 0), (1, 1)))
    return np.asarray(wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:])


def solve(sums: PolarSums, ssnr: Reals) -> Array:
    """Wiener-filtered references `(k, r, n_theta/2)` complex64; zero where nothing was added.

    Parameters
    ----------
    sums
        Both halves are added up.
    ssnr
        `(k, r)` of the sum.

    References
    ----------
    Scheres, J. Struct. Biol. 180, 519 (2012), eq. 8.
    """
    numerator, weight = sums.numerator.sum(axis=0), sums.weight.sum(axis=0)
    mean = weight.mean(axis=2, keepdims=True)
    floor = mean / np.maximum(ssnr, 1e-2)[:, :, None] + 1e-6 * mean.max(axis=1, keepdims=True) + 1e-30
    return np.asarray(numerator / (weight + floor), dtype=np.complex64)


def explained_power(sums: PolarSums, references: Array) -> Reals:
    """What references take off the images' power, `(r,)`, in units of the noise: ``sum 2 Re conj(N) P - W |P|^2``.

    The mean over directions, summed over references and images.
    """
    numerator, weight = sums.numerator.sum(axis=0), sums.weight.sum(axis=0)
    gain = 2.0 * (numerator.conj() * references).real - weight * np.abs(references) ** 2
    return np.asarray(gain.mean(axis=2, dtype=np.float64).sum(axis=0))


def accuracy(references: Array, weight: Array, grid: PolarGrid) -> tuple[Reals, Reals]:
    """How well images tell in-plane angle [degrees] and translation [px] of each reference, `(k,)` each.

    Parameters
    ----------
    references
        `(k, r, n_theta/2)`.
    weight
        `(k, r)`: ``C^2 / sigma^2`` of one image.
    grid
        Of the references.

    Returns
    -------
    The error at which the log-likelihood is expected to drop by 4.6: such a pose is a hundred times less probable.

    References
    ----------
    Expected accuracy: Scheres, J. Struct. Biol. 180, 519 (2012), section 2.4; here in closed form, for small errors,
    from the series: a turn by d changes order q by q d, a shift by s changes frequency k by 2 pi k s / n.
    """
    series = np.abs(np.fft.fft(np.concatenate([references, references.conj()], axis=-1), axis=-1)) ** 2
    order = np.fft.fftfreq(grid.n_theta, 1.0 / grid.n_theta)
    scaled = weight * grid.areas / (2.0 * grid.n_theta)
    turning = ((series * order**2).sum(axis=2) * scaled).sum(axis=1)
    slope = 0.5 * (2.0 * np.pi * grid.rings / grid.box_px) ** 2
    moving = (series.sum(axis=2) * slope * scaled).sum(axis=1)
    drop = np.log(100.0)
    with np.errstate(divide="ignore"):
        return np.degrees(np.sqrt(drop / turning)), np.sqrt(drop / moving)
