"""Where the axes of a point group lie in a map that was made without them, and the map laid on them; no images here."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics import interpolate, projection
from cryoframe.numerics.backend import Reals
from cryoframe.numerics.fourier import ifft3_centred
from cryoframe.numerics.rotations import angular_distance_deg, axis_rotation, euler_to_matrix, so3_grid, sphere_grid
from cryoframe.numerics.symmetry import asymmetric_unit, canonical_group, rotation_matrices

Array = npt.NDArray[Any]

_PADDING = 2
# The first ring holds the particle's size and hardly its shape.
_R_MIN = 2
#: Orientations that are followed from the first search, which reads this share of the frequencies' radius.
_N_FOLLOWED = 4
_FIRST_FRAC = 0.65
_N_ELSEWHERE = 100
# Reads of the transform at a time.
_BATCH_READS = 2**20


class Axes(NamedTuple):
    """Where the axes lie.

    `rotation` `(3, 3)` Q and `centre_px` `(3,)` (x, y, z) c: the map V(Qᵀ x + c) has the group's axes where RELION has
    them. `correlation`: of the map's whitened transform with its symmetry-related copies, 1 for a symmetric map, and
    `least`, that of the worst of the group's rotations. `elsewhere` and `spread`: mean and deviation of the first over
    all orientations of the axes.
    """

    rotation: Reals
    centre_px: Reals
    correlation: float
    least: float
    elsewhere: float
    spread: float


class _Spectrum(NamedTuple):
    """A map's transform as the search reads it: padded, with frequencies `(p, 3)` in a half space and their weights."""

    padded: Array
    points: Reals
    values: Array
    weights: Reals
    side: int


def find_axes(volume: Array, group: str, *, r_max: float, step_deg: float = 12.0) -> Axes:
    """Find how the axes of a point group lie in a map.

    Parameters
    ----------
    volume
        `(s, s, s)` float32, s even.
    group
        Point group name, not C1.
    r_max
        Frequencies up to this are compared [cycles per box].
    step_deg
        Of the first search over all orientations.

    Returns
    -------
    The best of the orientations that a grid and then a climb over orientation and centre found. Orientations that the
    group's normaliser relates (six for D2) are all equal. A high `least` is no proof of D2 or C2 where a map has little
    detail: an ellipsoid has them.

    Raises
    ------
    InvalidInput
        The group has no axes, or the map no density.

    References
    ----------
    Self-rotation function: Rossmann & Blow, Acta Cryst. 15, 24 (1962), doi:10.1107/S0365110X62000067; here of complex
    transforms, whitened by shell, about a centre that is found with them.
    """
    operators = _one_of_each_pair(rotation_matrices(group))
    if not len(operators):
        raise InvalidInput(f"the point group {group} has no axes to find", expected="a group with rotations")
    padded = projection.prepare_volume(np.ascontiguousarray(volume, dtype=np.float32), padding=_PADDING)
    coarse, spectrum = (_prepare(padded, r) for r in (max(_FIRST_FRAC * r_max, _R_MIN + 2.0), r_max))
    centre = centre_of_mass(volume)
    tried = _orientations(group, step_deg)
    scores = _correlations(coarse, tried, np.broadcast_to(centre, (len(tried), 3)), operators).mean(axis=1)
    climbed = [
        _climb(spectrum, tried[place], centre, operators, step_deg=0.5 * step_deg)
        for place in _apart(tried, scores, group, 1.5 * step_deg)
    ]
    rotation, found, correlation = max(climbed, key=lambda item: item[2])
    least = float(_correlations(spectrum, rotation[None], found[None], operators).min())
    return Axes(rotation, found, correlation, least, *_elsewhere(spectrum, tried, centre, operators))


def _elsewhere(spectrum: _Spectrum, tried: Reals, centre: Reals, operators: Reals) -> tuple[float, float]:
    """Mean and deviation of the correlation over some of the orientations."""
    some = tried[:: max(1, len(tried) // _N_ELSEWHERE)]
    scores = _correlations(spectrum, some, np.broadcast_to(centre, (len(some), 3)), operators).mean(axis=1)
    return float(scores.mean()), float(scores.std())


def lay_on_axes(volume: Array, axes: Axes, group: str) -> Array:
    """Turn and move a map so that its axes are RELION's, and average it over the group.

    Parameters
    ----------
    volume
        `(s, s, s)` float32, s even.
    axes
        From :func:`find_axes`.
    group
        Point group name.

    Returns
    -------
    `(s, s, s)` float32.

    References
    ----------
    Definition: the mean over g of V(Qᵀ g x + c), by its transform.
    """
    side = volume.shape[0]
    padded = projection.prepare_volume(np.ascontiguousarray(volume, dtype=np.float32), padding=_PADDING)
    axis = np.arange(-(side // 2), side // 2)
    z, y, x = np.meshgrid(axis, axis, np.arange(side // 2 + 1), indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float64)
    inside = np.linalg.norm(points, axis=1) < side / 2 - 1
    total = np.zeros(len(points), dtype=np.complex64)
    for operator in rotation_matrices(group):
        turned = points[inside] @ (operator.T @ axes.rotation)
        total[inside] += interpolate.read(np, padded, _PADDING * turned) * _moved(turned, axes.centre_px, side)
    mean = (total / len(rotation_matrices(group))).reshape(side, side, side // 2 + 1)
    return np.asarray(ifft3_centred(mean), dtype=np.float32)


def centre_of_mass(volume: Array) -> Reals:
    """Centre (x, y, z) [px from the origin voxel] of the density above a fifth of the highest."""
    density = np.maximum(volume - 0.2 * volume.max(), 0.0).astype(np.float64)
    total = float(density.sum())
    if not total > 0.0:
        raise InvalidInput("the map holds no density", expected="a map of a particle, bright on dark")
    axis = np.arange(len(volume)) - len(volume) // 2
    along = (density.sum(axis=(0, 1)), density.sum(axis=(0, 2)), density.sum(axis=(1, 2)))
    return np.array([float(line @ axis) for line in along]) / total


def _one_of_each_pair(operators: Reals) -> Reals:
    """Operators without the identity, and of each rotation and its inverse one: their correlations are equal."""
    kept: list[Reals] = []
    for operator in operators[1:]:
        if all(np.abs(operator.T - known).max() > 1e-6 for known in kept):
            kept.append(operator)
    return np.stack(kept) if kept else np.empty((0, 3, 3))


def _prepare(padded: Array, r_max: float) -> _Spectrum:
    side = padded.shape[0] // _PADDING
    last = int(min(r_max, side / 2 - 2))
    axis = np.arange(-last, last + 1)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float64)
    radius = np.linalg.norm(points, axis=1)
    upper = (x > 0) | ((x == 0) & (y > 0)) | ((x == 0) & (y == 0) & (z > 0))
    keep = upper.ravel() & (radius >= _R_MIN) & (radius <= last)
    points, shells = points[keep], np.rint(radius[keep]).astype(int)
    values = interpolate.read(np, padded, _PADDING * points)
    count = np.bincount(shells)
    power = np.bincount(shells, weights=np.abs(values) ** 2) / np.maximum(count, 1)
    weights = 1.0 / np.maximum(power, 1e-6 * power.max() + 1e-30)[shells]
    return _Spectrum(padded, points, values, weights / len(points), side)


def _moved(points: Array, centre_px: Array, side: int) -> Array:
    """Factors that move `centre_px` to the origin."""
    factors: Array = np.exp((2j * np.pi / side) * (points @ np.asarray(centre_px))).astype(np.complex64)
    return factors


def _correlations(spectrum: _Spectrum, rotations: Array, centres_px: Array, operators: Array) -> Reals:
    """Correlation `(m, g)` of the map with each copy, for axes laid by `rotations` `(m, 3, 3)` about centres."""
    scores = np.empty((len(rotations), len(operators)))
    step = max(1, _BATCH_READS // (len(operators) * len(spectrum.points)))
    for start in range(0, len(rotations), step):
        part = slice(start, start + step)
        turns, centres = rotations[part], centres_px[part]
        related = np.einsum("mji,gjk,mkl->mgil", turns, operators, turns)
        turned = spectrum.points @ np.swapaxes(related, -1, -2)
        copies = interpolate.read(np, spectrum.padded, _PADDING * turned)
        # The copy and the map itself are both seen from the centre.
        apart = ((turned - spectrum.points) @ centres[:, None, :, None])[..., 0]
        copies *= np.exp((2j * np.pi / spectrum.side) * apart).astype(np.complex64)
        terms = (copies * spectrum.values.conj()).real
        scores[part] = (terms * spectrum.weights).sum(axis=2, dtype=np.float64)
    return scores


def _orientations(group: str, step_deg: float) -> Reals:
    """Ways to lay the axes, `(m, 3, 3)`, of each set that the group itself cannot tell apart one."""
    if canonical_group(group).startswith("C"):
        # Only where the axis points counts, and not which end.
        grid = sphere_grid(step_deg)
        grid = grid[grid[:, 1] <= 90.0 + step_deg]
        return euler_to_matrix(grid[:, 0], grid[:, 1], np.zeros(len(grid)))
    turns = euler_to_matrix(*so3_grid(step_deg).T)
    return turns[asymmetric_unit(turns[:, :, 2], group)]


def _apart(turns: Reals, scores: Reals, group: str, least_deg: float) -> list[int]:
    """The best orientations that are not neighbours of a better one."""
    operators = rotation_matrices(group)
    chosen: list[int] = []
    for place in np.argsort(-scores, kind="stable")[:400]:
        related = operators @ turns[place]
        if all(angular_distance_deg(related, turns[other]).min() > least_deg for other in chosen):
            chosen.append(int(place))
        if len(chosen) == _N_FOLLOWED:
            break
    return chosen


def _climb(
    spectrum: _Spectrum, rotation: Reals, centre_px: Reals, operators: Reals, *, step_deg: float
) -> tuple[Reals, Reals, float]:
    """Go uphill over orientation and centre by ever smaller steps."""
    best = float(_correlations(spectrum, rotation[None], centre_px[None], operators).mean())
    turn_deg, move_px = step_deg, 1.0
    while turn_deg > 0.3:
        signs = (-1.0, 1.0)
        turns = [axis_rotation(axis, sign * turn_deg) @ rotation for axis in np.eye(3) for sign in signs]
        moves = [centre_px + sign * move_px * axis for axis in np.eye(3) for sign in signs]
        rotations = np.stack([*turns, *[rotation] * len(moves)])
        centres = np.stack([*[centre_px] * len(turns), *moves])
        scores = _correlations(spectrum, rotations, centres, operators).mean(axis=1)
        top = int(np.argmax(scores))
        if scores[top] > best + 1e-5:
            rotation, centre_px, best = rotations[top], centres[top], float(scores[top])
        else:
            turn_deg, move_px = 0.5 * turn_deg, 0.5 * move_px
    return rotation, centre_px, best
