"""Scores against truth, one definition each: poses, picks, CTF, maps. No running of stages, no statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.maps import Volume
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import InvalidInput
from cryoframe.numerics import fsc, rotations, symmetry


@dataclass(frozen=True)
class PoseError:
    """How far poses are from the true ones, over the particles both tables have.

    `angle_deg` and `shift_A` hold one value a particle, in the order of `particle_id`.
    """

    particle_id: NDArray[np.uint64]
    angle_deg: NDArray[np.float64]
    shift_A: NDArray[np.float64]

    def summary(self) -> dict[str, float]:
        """Median and 90th percentile of both errors."""
        quantiles = {"median": 50, "p90": 90}
        return {f"angle_{n}_deg": float(np.percentile(self.angle_deg, q)) for n, q in quantiles.items()} | {
            f"shift_{n}_A": float(np.percentile(self.shift_A, q)) for n, q in quantiles.items()
        }


def pose_error(found: ParticleTable, truth: ParticleTable, *, point_group: str = "C1") -> PoseError:
    """Compare poses with the true ones, particle by particle.

    Parameters
    ----------
    found, truth
        Tables with poses; compared on the particles both have.
    point_group
        Poses that a symmetry operation carries into each other are the same.

    Returns
    -------
    The angle of the rotation between the two orientations, least over the group [deg], and the length of the
    difference of the two in-plane shifts [Å].

    Raises
    ------
    InvalidInput
        If no particle is in both tables.

    Notes
    -----
    The shift difference is taken without turning: for a group about the map's origin equal orientations have equal
    shifts, and the angle error itself moves the centre by nothing.
    """
    mine, theirs = found.column("particle_id"), truth.column("particle_id")
    shared, at_mine, at_theirs = np.intersect1d(mine, theirs, return_indices=True)
    if not len(shared):
        raise InvalidInput("the two tables share no particle", remedy="Give tables with the same particle_id.")
    turned = [
        rotations.euler_to_matrix(*(table.floats(name)[rows] for name in ("rot_deg", "tilt_deg", "psi_deg")))
        for table, rows in ((found, at_mine), (truth, at_theirs))
    ]
    angle = symmetry.reduce_pose_error(turned[0], turned[1], point_group)
    moved = [
        np.stack([table.floats(name)[rows] for name in ("shift_x_A", "shift_y_A")], axis=-1)
        for table, rows in ((found, at_mine), (truth, at_theirs))
    ]
    return PoseError(shared.astype(np.uint64), np.asarray(angle), np.linalg.norm(moved[0] - moved[1], axis=-1))


@dataclass(frozen=True)
class PickScore:
    """Picks against true positions: one-to-one matches within a radius."""

    n_found: int
    n_true: int
    n_matched: int

    @property
    def recall(self) -> float:
        """Share of true particles that were found."""
        return self.n_matched / self.n_true if self.n_true else float("nan")

    @property
    def precision(self) -> float:
        """Share of picks that are particles."""
        return self.n_matched / self.n_found if self.n_found else float("nan")


def pick_pairs(
    found_xy_A: NDArray[np.float64], true_xy_A: NDArray[np.float64], *, radius_A: float
) -> NDArray[np.int64]:
    """Match picks and true positions one to one within `radius_A`, as many as can be.

    Parameters
    ----------
    found_xy_A, true_xy_A
        `(n, 2)`, `(m, 2)`.
    radius_A
        Farthest a pick may be from the particle it counts for.

    Returns
    -------
    `(n,)` the true position of each pick, -1 where it has none.

    References
    ----------
    Maximum bipartite matching: Hopcroft & Karp 1973, doi:10.1137/0202019.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching
    from scipy.spatial import cKDTree

    if not len(found_xy_A) or not len(true_xy_A):
        return np.full(len(found_xy_A), -1, dtype=np.int64)
    near = cKDTree(found_xy_A).query_ball_tree(cKDTree(true_xy_A), radius_A)
    columns = np.concatenate([np.asarray(row, dtype=np.int64) for row in near])
    starts = np.cumsum([0, *(len(row) for row in near)])
    graph = csr_array((np.ones(len(columns)), columns, starts), shape=(len(found_xy_A), len(true_xy_A)))
    return np.asarray(maximum_bipartite_matching(graph, perm_type="column"), dtype=np.int64)


def pick_score(found_xy_A: NDArray[np.float64], true_xy_A: NDArray[np.float64], *, radius_A: float) -> PickScore:
    """Count one-to-one matches of picks and true positions within `radius_A`; see :func:`pick_pairs`."""
    pairs = pick_pairs(found_xy_A, true_xy_A, radius_A=radius_A)
    return PickScore(len(found_xy_A), len(true_xy_A), int((pairs >= 0).sum()))


@dataclass(frozen=True)
class MapScore:
    """A map against a true one: FSC, where it falls below 0.5, and the same for the mirrored map."""

    frequency_1_A: NDArray[np.float64]
    fsc: NDArray[np.float64]
    resolution_A: float
    mirrored_resolution_A: float

    @property
    def right_hand(self) -> bool:
        """Whether the map as it is agrees further than its mirror image."""
        return self.resolution_A < self.mirrored_resolution_A


def map_score(found: Volume, truth: Volume, *, mask: NDArray[np.float32] | None = None) -> MapScore:
    """Compare a map with the true one by FSC at 0.5 (Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013).

    Parameters
    ----------
    found, truth
        Maps of one box and pixel, in one frame.
    mask
        `(n, n, n)`, applied to both.

    Raises
    ------
    InvalidInput
        If box or pixel differ.
    """
    if found.data.shape != truth.data.shape or abs(found.pixel_size_A - truth.pixel_size_A) > 1e-3:
        raise InvalidInput(
            f"maps of {found.data.shape} at {found.pixel_size_A} Å and {truth.data.shape} at {truth.pixel_size_A} Å",
            expected="one box and one pixel",
        )
    # Mirroring must keep the origin at n//2: reverse x, then move by one voxel for an even box.
    mirror = np.roll(found.data[:, :, ::-1], 1 if found.data.shape[2] % 2 == 0 else 0, axis=2)
    curves = [
        fsc.fsc_curve(np.ascontiguousarray(data), truth.data, pixel_size_A=found.pixel_size_A, mask=mask)
        for data in (found.data, mirror)
    ]
    at = [fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.5).resolution_A for curve in curves]
    return MapScore(np.asarray(curves[0].frequency_1_A), np.asarray(curves[0].fsc), at[0], at[1])
