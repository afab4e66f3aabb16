"""Rigid turn and translation that bring a map and its poses back to the frame of another map; nothing is searched.

Poses and map of a half-set agree whatever frame both are in, so that nothing in a refinement holds the frame: while
poses are known to tens of degrees, the mean of their errors turns the map, and later rounds keep that turn. Half-sets
then lie in different frames, and neither in that of the reference.

Only where the other map has density are they compared: a map may have what its reference lacks, as detergent about a
protein whose model the refinement began with, and laid on the reference as a whole it would turn for its sake (3 to 4
degrees in a simulated micelle).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import fourier, projection
from cryoframe.numerics.interpolate import half_points
from cryoframe.numerics.polar_images import cropped_side
from cryoframe.numerics.rotations import angular_distance_deg, axis_rotation, euler_to_matrix, sphere_grid
from cryoframe.numerics.turned_volume import turned_volume

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]

# Directions of the slices that are compared; neighbours overlap at the few rings that are.
_STEP_DEG = 30.0
_N_STEPS = 8
# A turn by this much [degrees], and a translation by this much [cycles at the last ring], tell the slope.
_SMALL_DEG, _SMALL_CYCLES = 0.5, 0.01
# The map is laid anew where it was found so often at most, until what is found is less than this [degrees].
_N_LAYS, _STILL_DEG = 12, 0.02
# Finer than the last ring needs, as maps are turned by linear interpolation.
_FINER = 2
# Density is all there above this share of the mean of the densest voxels, of which there are so many [share of all].
_FULL_FRAC, _DENSEST_FRAC = 0.3, 0.005
# Further than this the maps are no longer near each other: nothing is brought anywhere.
_FURTHEST_DEG = 30.0


class Frame(NamedTuple):
    """Turn `(3, 3)` and then translation `(3,)` (x, y, z) [px] that bring a map to another's frame."""

    turn: Reals
    shift_px: Reals

    def poses(self, rotations: Array, shifts_px: Array) -> tuple[Reals, Reals]:
        """Poses `(..., 3, 3)` and translations `(..., 2)` of images against the map brought, from those before."""
        turned = np.asarray(rotations) @ self.turn.T
        return turned, np.asarray(shifts_px) + turned[..., :2, :] @ self.shift_px


NOWHERE = Frame(np.eye(3), np.zeros(3))


def free_axes(operators: Array) -> Reals:
    """Projector `(3, 3)` onto the axes about and along which a symmetric map may move and keep its symmetry.

    References
    ----------
    Mean of a group's operators projects onto what they leave as it is; definition.
    """
    return np.asarray(np.round(np.mean(operators, axis=0), 9), dtype=np.float64)


def register(volume: Array, fixed: Array, *, box_px: int, r_max: float, operators: Array) -> Frame:
    """Find the frame in which a map lies best on another.

    Parameters
    ----------
    volume, fixed
        `(s, s, s)` and `(u, u, u)` float32 over the same length; they may differ in scale, ring by ring.
    box_px
        Pixels of the box the translation is to be told in.
    r_max
        Last ring compared [cycles per box].
    operators
        `(g, 3, 3)` of the point group, which both maps have.

    Returns
    -------
    No turn and no translation where symmetry leaves none, or where the maps are not near each other.

    References
    ----------
    Gauss-Newton on the sum of squared differences of transforms: Baker & Matthews, Int. J. Comput. Vis. 56, 221 (2004),
    doi:10.1023/B:VISI.0000011205.11775.fd, section 2.
    """
    free = free_axes(operators)
    if not free.any():
        return NOWHERE
    fewest = min(len(volume), len(fixed))
    side = min(fewest - fewest % 2, _FINER * cropped_side(fewest, r_max))
    moving, still = _cropped(volume, side), _cropped(fixed, side)
    inside = _density(still)
    if not inside.any():
        return NOWHERE
    grid = sphere_grid(_STEP_DEG)
    slices = euler_to_matrix(grid[:, 0], grid[:, 1], np.zeros(len(grid)))
    points = half_points(side, r_min=1.0, r_max=min(r_max, side / 2 - 1))
    wanted = projection.project_points(projection.prepare_volume(still * inside), slices, points)
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(np.int64)
    compared = _Compared(slices, points, rings, wanted, free, box_px, r_max)
    frame = NOWHERE
    for _ in range(_N_LAYS):
        x, y, z = frame.shift_px * side / box_px
        laid = turned_volume(moving, frame.turn, n=side, shift_px=(x, y, z)) * inside
        more = _nearest(projection.prepare_volume(laid), compared)
        frame = Frame(more.turn @ frame.turn, more.turn @ frame.shift_px + more.shift_px)
        if angular_distance_deg(frame.turn, NOWHERE.turn) > _FURTHEST_DEG:
            return NOWHERE
        if angular_distance_deg(more.turn, NOWHERE.turn) < _STILL_DEG:
            break
    return frame


class _Compared(NamedTuple):
    """What slices of a map are compared with."""

    slices: Array
    points: Array
    rings: Array
    wanted: Array
    free: Reals
    box_px: int
    r_max: float


def _density(volume: Array) -> Array:
    """Share `(s, s, s)` in which each voxel counts."""
    dense = np.maximum(volume, 0.0)
    n_densest = max(1, round(_DENSEST_FRAC * dense.size))
    level = _FULL_FRAC * float(np.sort(dense, axis=None)[-n_densest:].mean())
    return np.asarray(np.minimum(dense / level, 1.0) if level > 0.0 else dense, dtype=np.float32)


def _nearest(moving: Array, to: _Compared) -> Frame:
    """Gauss-Newton steps as long as they lead on."""
    frame, before = NOWHERE, np.inf
    for _ in range(_N_STEPS):
        rest = _rest(_slices(moving, frame, to), to)
        left = float((np.abs(rest) ** 2).sum())
        if left >= before * (1.0 - 1e-7):
            break
        before = left
        step = _step(moving, frame, to)
        frame = _moved(frame, step[:3], step[3:])
    return frame


def _cropped(volume: Array, side: int) -> Array:
    if len(volume) == side:
        return np.asarray(volume, dtype=np.float32)
    fewer = fourier.resize_centred_ft(fourier.fft3_centred(np.asarray(volume, np.float32)), side, n_dims=3)
    return np.asarray(fourier.ifft3_centred(fewer, n=side), dtype=np.float32)


def _slices(moving: Array, frame: Frame, to: _Compared) -> Array:
    """Slices `(j, p)` of the map in a frame."""
    values = projection.project_points(moving, to.slices @ frame.turn, to.points)
    shift = to.slices[:, :2] @ frame.shift_px
    return np.asarray(values * np.exp(-2j * np.pi / to.box_px * (shift @ to.points.T)))


def _rest(seen: Array, to: _Compared) -> Array:
    """What the map, on the other's scale ring by ring, leaves of it."""
    cross = np.bincount(to.rings, weights=(to.wanted * seen.conj()).real.sum(axis=0))
    power = np.bincount(to.rings, weights=(np.abs(seen) ** 2).sum(axis=0))
    scale = np.maximum(cross, 0.0) / np.maximum(power, 1e-30)
    return np.asarray(to.wanted - seen * scale[to.rings])


def _moved(frame: Frame, turn_rad: Reals, shift_px: Reals) -> Frame:
    """The frame turned further by a rotation vector and moved further."""
    angle = float(np.linalg.norm(turn_rad))
    more = axis_rotation(turn_rad / angle, float(np.degrees(angle))) if angle > 1e-12 else np.eye(3)
    return Frame(more @ frame.turn, more @ frame.shift_px + shift_px)


def _step(moving: Array, frame: Frame, to: _Compared) -> Reals:
    """Rotation vector [rad] and translation [px] `(6,)` of one Gauss-Newton step, along the free axes."""
    small = np.repeat([np.radians(_SMALL_DEG), _SMALL_CYCLES * to.box_px / to.r_max], 3)
    columns = []
    for k in range(6):
        change = np.zeros((2, 3))
        change[k // 3, k % 3] = small[k]
        ahead, behind = (_moved(frame, s * change[0], s * change[1]) for s in (1.0, -1.0))
        both = [_rest(_slices(moving, f, to), to).ravel() for f in (ahead, behind)]
        slope = (both[0] - both[1]) / (2.0 * small[k])
        columns.append(np.concatenate([slope.real, slope.imag]))
    allowed = np.kron(np.eye(2), to.free)
    slopes = np.stack(columns, axis=1) @ allowed
    now = _rest(_slices(moving, frame, to), to).ravel()
    found = np.linalg.lstsq(slopes, -np.concatenate([now.real, now.imag]), rcond=1e-6)[0]
    return np.asarray(allowed @ found)
