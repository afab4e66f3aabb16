"""Minimisers of functions of few variables without derivatives, with typed results; models live with their users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Reals


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a search ended.

    Parameters
    ----------
    position
        `(p,)` float64.
    value
        Of the function there.
    n_evaluations
        How often the function was called.
    converged
        False where the limit of evaluations ended the search.
    """

    position: Reals
    value: float
    n_evaluations: int
    converged: bool


def _start(start: npt.ArrayLike, step: npt.ArrayLike) -> tuple[Reals, Reals]:
    first = np.atleast_1d(np.asarray(start, dtype=np.float64))
    steps = np.broadcast_to(np.asarray(step, dtype=np.float64), first.shape)
    if first.ndim != 1 or not np.all(np.isfinite(first)) or not np.all(steps != 0):
        raise InvalidInput(f"a search from {first} with steps {steps} was asked for", expected="finite, steps not 0")
    return first, steps


def minimise_simplex(
    function: Callable[[Reals], float],
    start: npt.ArrayLike,
    *,
    step: npt.ArrayLike,
    tolerance: float = 1e-4,
    max_evaluations: int = 2000,
) -> Minimum:
    """Nelder–Mead downhill simplex.

    Parameters
    ----------
    function
        Of `(p,)`, giving a number.
    start
        `(p,)` first corner of the simplex.
    step
        `(p,)` or a number: the other corners are `start` plus one step each. Also the unit of `tolerance`.
    tolerance
        The search ends when the simplex is smaller than this many steps.

    References
    ----------
    Nelder & Mead, Comput. J. 7, 308 (1965), doi 10.1093/comjnl/7.4.308.
    """
    first, steps = _start(start, step)
    # Searched in units of the steps, so that Å and degrees weigh alike.
    found = scipy.optimize.minimize(
        lambda x: function(first + x * steps),
        np.zeros_like(first),
        method="Nelder-Mead",
        options={
            "initial_simplex": np.vstack([np.zeros_like(first), np.eye(first.size)]),
            "xatol": tolerance,
            "fatol": np.inf,
            "maxfev": max_evaluations,
        },
    )
    return Minimum(first + found.x * steps, float(found.fun), int(found.nfev), bool(found.success))


def minimise_powell(
    function: Callable[[Reals], float],
    start: npt.ArrayLike,
    *,
    step: npt.ArrayLike,
    bounds: Sequence[tuple[float, float]] | None = None,
    tolerance: float = 1e-4,
    max_evaluations: int = 5000,
) -> Minimum:
    """Powell's conjugate directions; arguments as the simplex.

    Parameters
    ----------
    bounds
        `p` pairs (low, high) which the search never leaves. Each variable is then lo + (hi − lo)·½(1 + sin t), which
        keeps conjugate directions working where the minimum lies on a bound.

    References
    ----------
    Powell, Comput. J. 7, 155 (1964), doi 10.1093/comjnl/7.2.155; bounds: James & Roos, Comput. Phys. Commun. 10,
    343 (1975), doi 10.1016/0010-4655(75)90039-9.
    """
    first, steps = _start(start, step)
    position_of, inner = (_bounded if bounds is not None else _free)(first, steps, np.array(bounds))
    found = scipy.optimize.minimize(
        lambda t: function(position_of(t)),
        inner,
        method="Powell",
        options={"xtol": tolerance, "ftol": 1e-12, "maxfev": max_evaluations},
    )
    return Minimum(position_of(np.atleast_1d(found.x)), float(found.fun), int(found.nfev), bool(found.success))


def _free(first: Reals, steps: Reals, bounds: Reals) -> tuple[Callable[[Reals], Reals], Reals]:
    return lambda t: first + t * steps, np.zeros_like(first)


def _bounded(first: Reals, steps: Reals, bounds: Reals) -> tuple[Callable[[Reals], Reals], Reals]:
    low, high = bounds.T
    if not (np.all(low < high) and np.all((low <= first) & (first <= high))):
        raise InvalidInput(
            f"a search from {first} within {bounds.tolist()} was asked for", expected="low < start < high"
        )
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    start = np.arcsin((first - middle) / half)
    return lambda t: middle + half * np.sin(start + t * steps / half), np.zeros_like(first)
