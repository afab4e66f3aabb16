"""Point groups in RELION's orientation: operators, asymmetric units, pose errors and maps modulo symmetry.

A map V has the group's symmetry when V(g·x) = V(x) for every operator g; poses A and A·g then see the same projection.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Floats, Reals, native
from cryoframe.numerics.rotations import angular_distance_deg, axis_rotation, directions, sphere_grid

_GOLDEN = 0.5 * (1.0 + np.sqrt(5.0))
_X, _Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)

# Two axes each, as (order, direction), that generate the group in RELION's orientation.
_POLYHEDRAL: dict[str, tuple[tuple[int, tuple[float, float, float]], ...]] = {
    "T": ((3, _Z), (2, (0.0, np.sqrt(2.0), 1.0))),
    "O": ((3, (1.0, 1.0, 1.0)), (4, _Z)),
    "I1": ((2, _X), (5, (_GOLDEN, 0.0, -1.0))),
    "I2": ((2, _Z), (5, (1.0, 0.0, _GOLDEN))),
    "I3": ((2, (-1.0, 0.0, _GOLDEN)), (5, _Z)),
    "I4": ((2, (1.0, 0.0, _GOLDEN)), (5, _Z)),
}


def canonical_group(group: str) -> str:
    """Return a point group's name as RELION writes it, ``" d7"`` as ``"D7"``; nothing is refused here."""
    return group.strip().upper()


def _generators(group: str) -> list[Reals]:
    name = canonical_group(group)
    name = "I2" if name == "I" else name
    if name in _POLYHEDRAL:
        return [axis_rotation(axis, 360.0 / order) for order, axis in _POLYHEDRAL[name]]
    found = re.fullmatch(r"([CD])([1-9]\d{0,2})", name)
    if found is None:
        raise InvalidInput(
            f"unknown point group {group!r}", expected="C1, C2, …, D1, D2, …, T, O, I (as I2), I1, I2, I3 or I4"
        )
    about_z = axis_rotation(_Z, 360.0 / int(found[2]))
    return [about_z] if found[1] == "C" else [about_z, axis_rotation(_X, 180.0)]


def rotation_matrices(group: str) -> Reals:
    """Operators of a point group.

    Parameters
    ----------
    group
        ``"C1"``, ``"Cn"``, ``"Dn"``, ``"T"``, ``"O"``, ``"I"`` (as ``"I2"``) or ``"I1"`` … ``"I4"``; case is ignored.

    Returns
    -------
    `(g, 3, 3)` float64, identity first. Cn and Dn: n-fold on z, and for Dn a 2-fold on x. T: 3-fold on z. O: 4-folds on
    the axes. I1, I2: 2-folds on the axes (I1 has a 5-fold in the xz plane at negative x·z, I2 at positive);
    I3, I4: 5-fold on z.

    Raises
    ------
    InvalidInput
        For any other name.

    References
    ----------
    Orientation: RELION, ``relion_refine --print_symmetry_ops``, after Heymann, Chagoyen & Belnap,
    J. Struct. Biol. 151, 196 (2005), doi 10.1016/j.jsb.2005.06.001.
    """
    generators = _generators(group)
    elements = np.eye(3)[None]
    frontier = elements
    while len(frontier):
        products = np.concatenate([frontier @ generator for generator in generators])
        new: list[Reals] = []
        for product in products:
            known = np.concatenate([elements, np.stack(new)]) if new else elements
            if np.abs(known - product).max(axis=(1, 2)).min() > 1e-6:
                new.append(product)
        frontier = np.stack(new) if new else np.empty((0, 3, 3))
        elements = np.concatenate([elements, frontier])
    return _orthonormal(elements)


def _orthonormal(matrices: Reals) -> Reals:
    """Nearest rotation matrices; removes what rounding the products of generators left."""
    u, _, vt = np.linalg.svd(matrices)
    cleaned: Reals = u @ vt
    cleaned[np.abs(cleaned) < 1e-15] = 0.0
    return cleaned


def asymmetric_unit(vectors: npt.ArrayLike, group: str) -> Bools:
    """Which directions lie in the asymmetric unit of the group.

    Parameters
    ----------
    vectors
        `(m, 3)` unit vectors (x, y, z) in the map frame.
    group
        Point group name.

    Returns
    -------
    `(m,)` bool. The unit is the set of directions that are nearer to one reference direction of no symmetry than to
    any of its images (a Dirichlet domain), so it covers exactly 1/g of the sphere; points on its border count as in.

    References
    ----------
    Definition.
    """
    v = np.asarray(vectors, dtype=np.float64)
    # A direction on no axis of any group above; its domain touches z, where n-fold axes lie.
    reference = np.array([0.3141, 0.1592, 0.9361])
    images = rotation_matrices(group) @ (reference / np.linalg.norm(reference))
    closeness = v @ images.T
    return np.asarray(closeness[:, 0] >= closeness.max(axis=1) - 1e-9)


def directions_in_asymmetric_unit(step_deg: float, group: str) -> Reals:
    """Nearly uniform viewing directions `(m, 2)` (rot, tilt) [degrees] that cover the asymmetric unit once."""
    grid = sphere_grid(step_deg)
    return grid[asymmetric_unit(directions(grid[:, 0], grid[:, 1]), group)]


def reduce_pose_error(a: npt.ArrayLike, b: npt.ArrayLike, group: str = "C1") -> Reals:
    """Angle between poses modulo symmetry: min over g of the angle between A and B·g.

    Parameters
    ----------
    a, b
        `(m, 3, 3)` poses (map frame to projection frame).
    group
        Point group of the map.

    Returns
    -------
    `(m,)` float64 [degrees].
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    smallest = np.full(np.broadcast_shapes(first.shape, second.shape)[:-2], 180.0)
    for operator in rotation_matrices(group):
        np.minimum(smallest, angular_distance_deg(first, second @ operator), out=smallest)
    return smallest


def symmetrise(volume: Floats, group: str, *, fast: bool = True) -> Floats:
    """Average a map over its symmetry-related copies, by tri-linear interpolation.

    Parameters
    ----------
    volume
        `(n, n, n)` real, axes (z, y, x), origin at index n//2.
    group
        Point group name.
    fast
        Use the compiled path.

    Returns
    -------
    `(n, n, n)` of the same type. A voxel whose image falls outside the box is averaged over the images inside.
    """
    operators = rotation_matrices(group)
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InvalidInput(f"a map of shape {volume.shape} cannot be symmetrised", expected="a cube, (n, n, n)")
    if len(operators) == 1 or volume.shape[0] < 2:
        return volume.copy()
    module = native(np, "symmetry") if fast else None
    if module is not None:
        averaged_fast: Floats = module.symmetrise(volume, operators)
        return averaged_fast
    n = volume.shape[0]
    total = volume.astype(np.float64)
    count = np.ones(volume.shape, dtype=np.int32)
    axis = np.arange(n, dtype=np.float64) - n // 2
    for operator in operators[1:]:
        for z_index, z in enumerate(axis):
            plane = operator[:, 0, None, None] * axis[None, None, :] + operator[:, 1, None, None] * axis[None, :, None]
            points = plane + (operator[:, 2] * z)[:, None, None] + n // 2
            value, inside = _trilinear(volume, points)
            total[z_index] += value
            count[z_index] += inside
    averaged: Floats = (total / count).astype(volume.dtype)
    return averaged


def _trilinear(volume: Floats, points: Reals) -> tuple[Reals, Bools]:
    """Values at index coordinates `(3, …)` (x, y, z), zero outside, and which points are inside."""
    last = volume.shape[0] - 1
    # Rounding may put a point that is on the border just outside of it.
    inside = np.all((points >= -1e-6) & (points <= last + 1e-6), axis=0)
    corner = np.clip(np.floor(points + 1e-9).astype(np.intp), 0, max(last - 1, 0))
    x, y, z = corner
    fx, fy, fz = np.clip(points - corner, 0.0, 1.0)
    value = np.zeros(points.shape[1:])
    for dz, wz in ((0, 1.0 - fz), (1, fz)):
        for dy, wy in ((0, 1.0 - fy), (1, fy)):
            for dx, wx in ((0, 1.0 - fx), (1, fx)):
                value += wz * wy * wx * volume[z + dz, y + dy, x + dx]
    return np.where(inside, value, 0.0), inside
