"""Superposition of point sets, and turning a symmetric assembly onto the axes of its point group; no files."""

from __future__ import annotations

import itertools

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals
from cryoframe.numerics.rotations import angular_distance_deg, axis_rotation
from cryoframe.numerics.symmetry import rotation_matrices


def superpose(moving: Floats, fixed: Floats) -> tuple[Reals, Reals, float]:
    """Rotation R and translation t for which R·moving + t lies best on `fixed`.

    Parameters
    ----------
    moving, fixed
        `(m, 3)` matched points.

    Returns
    -------
    `(3, 3)` rotation, `(3,)` translation and the root-mean-square distance left.

    References
    ----------
    Kabsch, Acta Cryst. A32, 922 (1976), doi 10.1107/S0567739476001873.
    """
    a, b = np.asarray(moving, dtype=np.float64), np.asarray(fixed, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 3 or len(a) < 3:
        raise InvalidInput(f"points of shape {a.shape} and {b.shape} were given", expected="(m, 3) twice, m at least 3")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    u, _, vt = np.linalg.svd((a - mean_a).T @ (b - mean_b))
    flip = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))])
    rotation = vt.T @ flip @ u.T
    shift = mean_b - rotation @ mean_a
    left = float(np.sqrt(np.mean(np.sum((a @ rotation.T + shift - b) ** 2, axis=1))))
    return rotation, shift, left


def rotation_axis(rotation: Floats) -> tuple[Reals, float]:
    """Unit axis and angle [degrees, 0 to 180] of a rotation; z for none.

    References
    ----------
    Definition.
    """
    r = np.asarray(rotation, dtype=np.float64)
    angle = float(np.degrees(np.arccos(np.clip(0.5 * (np.trace(r) - 1.0), -1.0, 1.0))))
    if angle < 1e-3:
        return np.array([0.0, 0.0, 1.0]), 0.0
    skew = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    if np.linalg.norm(skew) > 1e-3:
        return skew / np.linalg.norm(skew), angle
    # Half a turn: R + 1 projects onto the axis.
    column = (r + np.eye(3))[:, int(np.argmax(np.diag(r)))]
    return column / np.linalg.norm(column), angle


def orientations_for(rotations: Floats, group: str, *, tolerance_deg: float = 3.0) -> list[Reals]:
    """Every way to turn an assembly so that its symmetry is that of a point group in RELION's orientation.

    Parameters
    ----------
    rotations
        `(m, 3, 3)` operators of the assembly in its own frame, the identity among them or not.
    group
        Point group name; the assembly's symmetry must contain it.
    tolerance_deg
        How far an operator may be from the group's.

    Returns
    -------
    Rotations Q `(3, 3)` for which Q·R·Qᵀ are the group's operators, one of each set that the group itself cannot tell
    apart: one for O or I, two for T, six for D2. For Cn, two: the axis up, by the least turn, and then down.

    Raises
    ------
    InvalidInput
        The assembly does not have the symmetry.
    """
    wanted = rotation_matrices(group)
    if len(wanted) == 1:
        return [np.eye(3)]
    found: list[Reals] = []
    for turn in _candidates(np.asarray(rotations, dtype=np.float64), wanted, tolerance_deg):
        turned = turn @ rotations @ turn.T
        missing = [angular_distance_deg(turned, operator).min() for operator in wanted[1:]]
        if max(missing) > tolerance_deg:
            continue
        if all(angular_distance_deg(wanted @ turn, known).min() > tolerance_deg for known in found):
            found.append(turn)
    if not found:
        raise InvalidInput(
            f"the assembly does not have the symmetry {group}",
            expected=f"chains related by the {len(wanted)} operators of {group}",
            remedy="Check the symmetry and the assembly's name, or set symmetry to C1 to leave it as it lies.",
        )
    return found


def _candidates(rotations: Reals, wanted: Reals, tolerance_deg: float) -> list[Reals]:
    """Turns that lay the axes of two operators of the assembly on those of two generators of the group."""
    axes = [rotation_axis(r) for r in rotations]
    axes = [(s * axis, angle) for axis, angle in axes if angle > tolerance_deg for s in (1.0, -1.0)]
    first, *rest = sorted((rotation_axis(r) for r in wanted[1:]), key=lambda item: item[1])
    across = [item for item in rest if abs(item[0] @ first[0]) < 0.99]
    if not across:
        upright = [_least_turn(axis, first[0]) for axis, angle in axes if abs(angle - first[1]) < tolerance_deg][:1]
        return [*upright, *(axis_rotation((1.0, 0.0, 0.0), 180.0) @ turn for turn in upright)]
    second = across[0]
    cosine = float(first[0] @ second[0])
    turns = []
    for (a, angle_a), (b, angle_b) in itertools.product(axes, axes):
        alike = abs(angle_a - first[1]) < tolerance_deg and abs(angle_b - second[1]) < tolerance_deg
        if alike and abs(float(a @ b) - cosine) < np.radians(tolerance_deg):
            turns.append(superpose(np.stack([a, b, np.cross(a, b)]), _frame(first[0], second[0]))[0])
    return turns


def _frame(a: Reals, b: Reals) -> Reals:
    return np.stack([a, b, np.cross(a, b)])


def _least_turn(axis: Reals, target: Reals) -> Reals:
    """Smallest rotation that lays `axis` on `target`."""
    across = np.cross(axis, target)
    if np.linalg.norm(across) < 1e-9:
        return np.eye(3) if axis @ target > 0 else axis_rotation((1.0, 0.0, 0.0), 180.0)
    return axis_rotation(across, float(np.degrees(np.arccos(np.clip(axis @ target, -1.0, 1.0)))))
