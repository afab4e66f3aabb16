"""Rotations as matrices, ZYZ Euler angles and quaternions, and grids over directions and orientations; no symmetry.

Euler angles are RELION's: A = R_z(psi)·R_y(tilt)·R_z(rot) in passive form turns column vectors (x, y, z) of the map
into the projection frame; the viewing direction in the map frame is the last row of A.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Reals


def euler_to_matrix(rot_deg: npt.ArrayLike, tilt_deg: npt.ArrayLike, psi_deg: npt.ArrayLike) -> Reals:
    """Rotation matrices of ZYZ Euler angles.

    Parameters
    ----------
    rot_deg, tilt_deg, psi_deg
        `(m,)` or numbers, broadcast against each other [degrees].

    Returns
    -------
    `(m, 3, 3)` float64 (`(3, 3)` for three numbers).

    References
    ----------
    Heymann, Chagoyen & Belnap, J. Struct. Biol. 151, 196 (2005), doi 10.1016/j.jsb.2005.06.001.
    """
    rot, tilt, psi = np.broadcast_arrays(
        np.radians(np.asarray(rot_deg, dtype=np.float64)),
        np.radians(np.asarray(tilt_deg, dtype=np.float64)),
        np.radians(np.asarray(psi_deg, dtype=np.float64)),
    )
    ca, sa, cb, sb, cg, sg = np.cos(rot), np.sin(rot), np.cos(tilt), np.sin(tilt), np.cos(psi), np.sin(psi)
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_euler(matrices: npt.ArrayLike) -> tuple[Reals, Reals, Reals]:
    """Euler angles (rot, tilt, psi) of rotation matrices; the inverse of :func:`euler_to_matrix`.

    Parameters
    ----------
    matrices
        `(…, 3, 3)`.

    Returns
    -------
    Three `(…,)` float64 arrays [degrees]: rot and psi in (−180, 180], tilt in [0, 180]. At the poles, where only the
    sum (or difference) of rot and psi is defined, rot is 0.
    """
    a = np.asarray(matrices, dtype=np.float64)
    sin_tilt = np.hypot(a[..., 2, 0], a[..., 2, 1])
    # Below this the direction of (A20, A21) is rounding noise of the matrix; RELION's limit is 16 float epsilons.
    pole = sin_tilt < 16 * np.finfo(np.float32).eps
    tilt = np.where(pole, np.where(a[..., 2, 2] > 0, 0.0, np.pi), np.arctan2(sin_tilt, a[..., 2, 2]))
    rot = np.where(pole, 0.0, np.arctan2(a[..., 2, 1], a[..., 2, 0]))
    psi_pole = np.where(
        a[..., 2, 2] > 0, np.arctan2(-a[..., 1, 0], a[..., 0, 0]), np.arctan2(a[..., 1, 0], -a[..., 0, 0])
    )
    psi = np.where(pole, psi_pole, np.arctan2(a[..., 1, 2], -a[..., 0, 2]))
    return np.degrees(rot), np.degrees(tilt), np.degrees(psi)


def quaternion_to_matrix(quaternions: npt.ArrayLike) -> Reals:
    """Matrices `(…, 3, 3)` of quaternions `(…, 4)`, (w, x, y, z), normalised first: v → q v q*.

    References
    ----------
    Shoemake, SIGGRAPH Comput. Graph. 19, 245 (1985), doi 10.1145/325165.325242.
    """
    q = np.asarray(quaternions, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrices: npt.ArrayLike) -> Reals:
    """Unit quaternions `(…, 4)`, (w, x, y, z) with w ≥ 0, of rotation matrices `(…, 3, 3)`.

    References
    ----------
    Bar-Itzhack, J. Guid. Control Dyn. 23, 1085 (2000), doi 10.2514/2.4654: the eigenvector of the largest eigenvalue.
    """
    a = np.asarray(matrices, dtype=np.float64)
    k = np.empty((*a.shape[:-2], 4, 4))
    trace = a[..., 0, 0] + a[..., 1, 1] + a[..., 2, 2]
    k[..., 0, 0] = trace
    k[..., 1:, 1:] = a + np.swapaxes(a, -1, -2) - trace[..., None, None] * np.eye(3)
    axis = np.stack([a[..., 2, 1] - a[..., 1, 2], a[..., 0, 2] - a[..., 2, 0], a[..., 1, 0] - a[..., 0, 1]], axis=-1)
    k[..., 0, 1:] = axis
    k[..., 1:, 0] = axis
    quaternion: Reals = np.linalg.eigh(k)[1][..., -1]
    return np.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def axis_rotation(axis: npt.ArrayLike, angle_deg: float) -> Reals:
    """Matrix `(3, 3)` that turns column vectors by `angle_deg` about `axis` `(3,)`, right-handed (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(angle_deg)
    turned: Reals = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return turned


def vector_rotation(vectors: npt.ArrayLike) -> Reals:
    """Rotation matrices `(…, 3, 3)` of rotation vectors `(…, 3)` [rad], right-handed.

    References
    ----------
    Rodrigues' formula.
    """
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    angle = np.sqrt(x**2 + y**2 + z**2)[..., None, None]
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    bend = 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2
    turned: Reals = np.eye(3) + np.sinc(angle / np.pi) * cross + bend * (cross @ cross)
    return turned


def random_rotations(n: int, rng: np.random.Generator) -> Reals:
    """`(n, 3, 3)` rotations, uniform over SO(3).

    References
    ----------
    Marsaglia, Ann. Math. Stat. 43, 645 (1972): normal deviates give uniform unit quaternions.
    """
    return quaternion_to_matrix(rng.standard_normal((n, 4)))


def angular_distance_deg(a: npt.ArrayLike, b: npt.ArrayLike) -> Reals:
    """Angle of the rotation that leads from `a` to `b`, `(…, 3, 3)` each, broadcast [degrees, 0 … 180].

    From the Frobenius norm, ‖A − B‖² = 8 sin²(θ/2), which keeps its precision for small angles where the arc cosine
    of the trace loses half of the digits.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    norm = np.sqrt(np.sum(difference**2, axis=(-2, -1)))
    distance: Reals = np.degrees(2.0 * np.arcsin(np.clip(norm / np.sqrt(8.0), 0.0, 1.0)))
    return distance


def directions(rot_deg: npt.ArrayLike, tilt_deg: npt.ArrayLike) -> Reals:
    """Unit vectors `(m, 3)` (x, y, z) of viewing directions in the map frame: (sinθ cosφ, sinθ sinφ, cosθ)."""
    rot, tilt = np.radians(np.asarray(rot_deg, dtype=np.float64)), np.radians(np.asarray(tilt_deg, dtype=np.float64))
    return np.stack(np.broadcast_arrays(np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)), axis=-1)


def _check_step(step_deg: float) -> None:
    if not 0.0 < step_deg <= 180.0:
        raise InvalidInput(f"a grid step of {step_deg}° was asked for", expected="more than 0° and at most 180°")


def sphere_grid(step_deg: float) -> Reals:
    """Nearly uniform directions on S².

    Parameters
    ----------
    step_deg
        Square root of the solid angle a direction stands for.

    Returns
    -------
    `(m, 2)` float64: (rot, tilt) [degrees], m ≈ 4π/step².

    References
    ----------
    Spherical Fibonacci lattice: Swinbank & Purser, Q. J. R. Meteorol. Soc. 132, 1769 (2006), doi 10.1256/qj.05.227.
    """
    _check_step(step_deg)
    n = max(1, round(4.0 * np.pi / np.radians(step_deg) ** 2))
    index = np.arange(n, dtype=np.float64)
    cos_tilt = 1.0 - (2.0 * index + 1.0) / n
    golden = 0.5 * (1.0 + np.sqrt(5.0))
    rot = np.mod(360.0 * index / golden + 180.0, 360.0) - 180.0
    return np.stack([rot, np.degrees(np.arccos(cos_tilt))], axis=-1)


def psi_grid(step_deg: float) -> Reals:
    """In-plane angles `(k,)` [degrees] from −180 with equal steps of at most `step_deg`."""
    _check_step(step_deg)
    k = int(np.ceil(360.0 / step_deg - 1e-9))
    return -180.0 + 360.0 * np.arange(k, dtype=np.float64) / k


def so3_grid(step_deg: float) -> Reals:
    """Nearly uniform orientations: every direction of the sphere grid with every in-plane angle.

    Returns
    -------
    `(m, 3)` float64: (rot, tilt, psi) [degrees]; psi runs fastest. Equal weights approximate the Haar measure, since
    sinθ dθ dφ dψ is the product of the area on S² and of the in-plane angle.
    """
    sphere, psi = sphere_grid(step_deg), psi_grid(step_deg)
    return np.concatenate([np.repeat(sphere, psi.size, axis=0), np.tile(psi, len(sphere))[:, None]], axis=1)
