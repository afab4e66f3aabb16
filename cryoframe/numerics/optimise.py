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
    """Powell's conjugate directions, within `bounds` [(low, high), …] where given; arguments as the simplex.

    References
    ----------
    Powell, Comput. J. 7, 155 (1964), doi 10.1093/comjnl/7.2.155.
    """
    first, steps = _start(start, step)
    scaled = None
    if bounds is not None:
        scaled = [
            tuple(sorted(((low - x) / s, (high - x) / s)))
            for (low, high), x, s in zip(bounds, first, steps, strict=True)
        ]
    found = scipy.optimize.minimize(
        lambda x: function(first + x * steps),
        np.zeros_like(first),
        method="Powell",
        bounds=scaled,
        options={"xtol": tolerance, "ftol": 1e-12, "maxfev": max_evaluations},
    )
    return Minimum(first + np.atleast_1d(found.x) * steps, float(found.fun), int(found.nfev), bool(found.success))
