"""Spreading of slices into Fourier accumulators, the exact adjoint of projection; solving for the map is elsewhere.

Rotations of a point group that carry the grid onto itself need no insertion of their own: see sums_symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import interpolate
from cryoframe.numerics.backend import namespace, native
from cryoframe.numerics.projection import slice_index

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Accumulator:
    """Sums of a linear reconstruction on the padded half grid; the arrays are added to in place.

    Attributes
    ----------
    numerator
        `(N, N, N//2 + 1)` complex: sum of ``ctf * image / noise``.
    weight
        `(N, N, N//2 + 1)` float: sum of ``ctf^2 / noise``.
    padding
        N over the box side.
    """

    numerator: Array
    weight: Array
    padding: int = 2

    @property
    def box_px(self) -> int:
        """Side of the unpadded map."""
        return int(self.numerator.shape[0]) // self.padding


def empty_accumulator(
    n: int, *, padding: int = 2, dtype: npt.DTypeLike = np.complex64, xp: ModuleType = np
) -> Accumulator:
    """Return zero sums for boxes of side `n`; `dtype` is that of the numerator, complex64 or complex128."""
    side = n * padding
    shape = (side, side, side // 2 + 1)
    numerator = xp.zeros(shape, dtype=dtype)
    return Accumulator(numerator, xp.zeros(shape, dtype=numerator.real.dtype), padding)


def insert_points(accumulator: Accumulator, values: Array, weights: Array, *, rotations: Array, points: Array) -> None:
    """Add slices known at chosen in-plane frequencies.

    Parameters
    ----------
    accumulator
        Added to in place.
    values
        `(m, p)` complex: CTF-multiplied, shifted image transforms, over the noise.
    weights
        `(m, p)` float: squared CTF over the noise.
    rotations
        `(m, s, 3, 3)`: each slice goes to s symmetry-related places; or `(m, 3, 3)`.
    points
        `(p, 2)` (kx, ky) [cycles per unpadded box], ``|k| < n/2``.

    Notes
    -----
    Every voxel receives its contributions in the order of the slices whatever the number of threads, so the
    sums are equal to the last bit for any number of threads.

    References
    ----------
    Adjoint of the projection-slice theorem; weights: Scheres, J. Struct. Biol. 180, 519 (2012), eq. 8.
    """
    xp = namespace(accumulator.numerator, values, weights, rotations)
    placed = rotations[:, None] if rotations.ndim == 3 else rotations
    fast = native(xp, "insertion")
    if fast is not None:
        fast.insert_points(xp, accumulator, values, weights, rotations=placed, points=points)
    else:
        generic_insert_points(xp, accumulator, values, weights, rotations=placed, points=points)


def generic_insert_points(
    xp: ModuleType, accumulator: Accumulator, values: Array, weights: Array, *, rotations: Array, points: Array
) -> None:
    """Reference of :func:`insert_points`, in terms of any array namespace."""
    for place in range(rotations.shape[1]):
        coordinates = interpolate.slice_coordinates(xp, rotations[:, place], points, padding=accumulator.padding)
        interpolate.spread(xp, accumulator.numerator, coordinates, values)
        interpolate.spread(xp, accumulator.weight, coordinates, weights)


def insert(slices_ft: Array, weights: Array, rotations: Array, accumulator: Accumulator) -> None:
    """Add whole half slices: the exact adjoint of ``project`` for the numerator.

    Parameters
    ----------
    slices_ft
        `(m, n, n//2 + 1)` complex; CTF-multiplied, over the noise.
    weights
        `(m, n, n//2 + 1)` float; squared CTF over the noise.
    rotations
        `(m, 3, 3)`, or `(m, s, 3, 3)` for s symmetry-related places.
    accumulator
        Added to in place.

    Notes
    -----
    Both mates on the line kx = 0 are spread, as the adjoint asks; a reconstruction wants each Hermitian pair once
    and uses :func:`insert_points` on `interpolate.half_points`.

    References
    ----------
    Adjoint under ``Re sum conj(a) b`` over the stored half arrays; definition.
    """
    points, index = slice_index(slices_ft.shape[-2])
    values = slices_ft.reshape(slices_ft.shape[0], -1)[:, index]
    squares = weights.reshape(weights.shape[0], -1)[:, index]
    insert_points(accumulator, values, squares, rotations=rotations, points=points)


def symmetric_rotations(rotations: Array, operators: Array) -> Array:
    """Rotations of one slice at all symmetry-related places.

    Parameters
    ----------
    rotations
        `(m, 3, 3)`.
    operators
        `(s, 3, 3)` proper rotations of the point group, acting on the map's column vectors.

    Returns
    -------
    `(m, s, 3, 3)`: ``A S``; as the group holds each inverse, every order of factors lists the same places.

    References
    ----------
    Definition.
    """
    related: Array = rotations[:, None] @ operators[None]
    return related
