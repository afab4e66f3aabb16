"""Random places without overlap (random sequential adsorption); how many and where they may be is in field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Reals


def without_overlap(
    first: Reals, radii_A: Reals, redraw: Callable[[int], Reals], *, in_projection: bool = False, n_tries: int = 500
) -> Reals:
    """Accept places one after the other, drawing anew each that comes too near to one accepted before.

    Parameters
    ----------
    first
        `(m, 3)` (x, y, z) [Å], the places tried first.
    radii_A
        `(m,)`; two centres keep the sum of their radii.
    redraw
        Gives another `(3,)` place for the particle of that index.
    in_projection
        Keep the distance in (x, y), so that no particle hides another.
    n_tries
        Draws allowed for each particle.

    Returns
    -------
    `(m, 3)` places.

    Raises
    ------
    InvalidInput
        Where a particle finds no place: random sequential adsorption of spheres jams at 38 % of the volume, of discs
        at 54.7 % of the area, and slows down well before.

    References
    ----------
    Widom, J. Chem. Phys. 44, 3888 (1966), doi 10.1063/1.1726548; jamming: Feder, J. Theor. Biol. 87, 237 (1980),
    doi 10.1016/0022-5193(80)90358-6.
    """
    n_axes = 2 if in_projection else 3
    placed = np.array(first, dtype=np.float64)
    for index in range(len(placed)):
        before, reach2 = placed[:index, :n_axes], (radii_A[:index] + radii_A[index]) ** 2
        for _ in range(n_tries):
            if not np.any(np.sum((before - placed[index, :n_axes]) ** 2, axis=1) < reach2):
                break
            placed[index] = redraw(index)
        else:
            raise InvalidInput(
                f"particle {index + 1} of {len(placed)} found no free place in {n_tries} draws",
                expected="room for all of them without overlap",
                remedy="Lower the concentration, thicken the ice or allow overlap.",
            )
    return placed
