"""Sums of a reconstruction made symmetric after all slices are in them; slices are inserted in insertion.

Rotations that only swap and reverse axes carry each voxel of the grid onto a voxel: nothing is interpolated, and one
pass over the sums takes the place of one insertion of every image for each of them. O and D2 are made of nothing else,
half of D4n and a fifth of I are.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.backend import namespace, native
from cryoframe.numerics.insertion import Accumulator

Array = npt.NDArray[Any]


def split_group(operators: Array) -> tuple[Array, Array]:
    """Rotations of a point group in two factors.

    Parameters
    ----------
    operators
        `(s, 3, 3)` of the group.

    Returns
    -------
    `(h, 3, 3)`: its subgroup that carries the grid onto itself, for :func:`symmetrise`; `(s / h, 3, 3)`: one rotation
    of each of that subgroup's left cosets, for `insertion.symmetric_rotations`. Each rotation of the group is one of
    the second times one of the first.

    References
    ----------
    Lagrange's theorem; definition.
    """
    whole = np.rint(operators)
    exact = operators[np.abs(operators - whole).max(axis=(1, 2)) < 1e-9]
    chosen: list[Array] = []
    for rotation in operators:
        mine = rotation @ exact
        if not any(np.abs(mine - seen).max(axis=(1, 2)).min() < 1e-6 for seen in chosen):
            chosen.append(rotation)
    return np.rint(exact), np.stack(chosen)


def symmetrise(sums: Accumulator, operators: Array) -> None:
    """Sum the sums over rotations that carry the grid onto itself.

    Parameters
    ----------
    sums
        Changed in place; nothing of their size is allocated. Samples at the Nyquist frequency of the padded grid, which
        has no unambiguous sign, are left as they are.
    operators
        `(h, 3, 3)` a group of matrices of 0, 1 and -1, as from :func:`split_group`.

    Notes
    -----
    Voxels that are related are added up in one order by one thread: results are equal to the last bit for any number
    of threads.

    References
    ----------
    Definition: every slice is in the sums at all its symmetry-related places.
    """
    if len(operators) == 1:
        return
    steps, signs = _as_steps(operators)
    _complete(sums)
    xp = namespace(sums.numerator)
    fast = native(xp, "sums_symmetry")
    spread = generic_spread if fast is None else fast.spread
    spread(xp, sums.numerator, sums.weight, steps, signs)
    # Whoever solves the sums adds both mates of that plane.
    sums.numerator[:, :, 0] *= 0.5
    sums.weight[:, :, 0] *= 0.5


def _as_steps(operators: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which axis `(h, 3)` each axis of a turned place is, and its sign."""
    steps = np.abs(operators).argmax(axis=2)
    return steps, np.rint(np.take_along_axis(operators, steps[:, :, None], axis=2)[:, :, 0]).astype(np.int64)


def _complete(sums: Accumulator) -> None:
    """Add Hermitian mates of the plane kx = 0, in place."""
    side = sums.numerator.shape[0]
    mate = (side - np.arange(side)) % side
    numerator, weight = sums.numerator[:, :, 0], sums.weight[:, :, 0]
    numerator += np.conj(numerator[mate][:, mate])
    weight += weight[mate][:, mate]


def generic_spread(xp: ModuleType, numerator: Array, weight: Array, steps: Array, signs: Array) -> None:
    """Reference of the sum over rotations, in terms of any array namespace; the plane kx = 0 is complete."""
    side = numerator.shape[0]
    middle = side // 2
    whole = xp.arange(1 - middle, middle)
    z, y, x = (axis.reshape(-1) for axis in xp.meshgrid(whole, whole, xp.arange(middle), indexing="ij"))
    here = (x, y, z)
    total, density = xp.zeros(len(x), dtype=numerator.dtype), xp.zeros(len(x), dtype=weight.dtype)
    for step, sign in zip(steps, signs, strict=True):
        px, py, pz = (sign[axis] * here[step[axis]] for axis in range(3))
        turn = xp.where(px < 0, -1, 1)
        place = (turn * pz + middle, turn * py + middle, turn * px)
        value = numerator[place]
        total += xp.where(px < 0, xp.conj(value), value)
        density += weight[place]
    numerator[z + middle, y + middle, x] = total
    weight[z + middle, y + middle, x] = density
