"""Compiled local pose scores; meaning as in cryoframe.numerics.pose_search."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit
from cryoframe.numerics._numba.projection import read_at

if TYPE_CHECKING:
    from cryoframe.numerics.pose_search import Poses, Targets

Array = npt.NDArray[Any]


@jit
def _shift_table(values: Array, points: Array, shift: Array, shifts: Array, real: Array, imaginary: Array) -> None:
    """Moved targets, `(p, t)` each part, with translations fastest so that the inner loop of the scores is a vector."""
    for p in range(points.shape[0]):
        for t in range(shifts.shape[0]):
            angle = points[p, 0] * (shift[0] + shifts[t, 0]) + points[p, 1] * (shift[1] + shifts[t, 1])
            c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            real[p, t] = values[p].real * c - values[p].imag * s
            imaginary[p, t] = values[p].real * s + values[p].imag * c


@jit(parallel=True)
def _local_scores(
    volume_ft: Array,
    values: Array,
    weights: Array,
    points: Array,
    rotations: Array,
    starts: Array,
    alive: Array,
    neighbours: Array,
    shifts: Array,
    scale: Array,
    cross: Array,
    square: Array,
) -> None:
    n_points, n_shifts = points.shape[0], shifts.shape[0]
    for i in prange(rotations.shape[0]):
        real = np.empty((n_points, n_shifts), dtype=np.float32)
        imaginary = np.empty((n_points, n_shifts), dtype=np.float32)
        total = np.empty(n_shifts, dtype=np.float32)
        for j in range(rotations.shape[1]):
            if not alive[i, j]:
                continue
            _shift_table(values[i], points * scale[0], starts[i, j], shifts, real, imaginary)
            for c in range(neighbours.shape[0]):
                a = neighbours[c] @ rotations[i, j]
                total[:] = 0.0
                energy = np.float32(0.0)
                for p in range(n_points):
                    kx, ky = points[p, 0] * scale[1], points[p, 1] * scale[1]
                    x = kx * a[0, 0] + ky * a[1, 0]
                    y = kx * a[0, 1] + ky * a[1, 1]
                    z = kx * a[0, 2] + ky * a[1, 2]
                    value = read_at(volume_ft, x, y, z)
                    vr, vi = value.real, value.imag
                    energy += weights[i, p] * (vr * vr + vi * vi)
                    for t in range(n_shifts):
                        total[t] += vr * real[p, t] + vi * imaginary[p, t]
                square[i, j, c] = energy
                cross[i, j, c, :] = total


def local_scores(
    xp: ModuleType,
    volume_ft: Array,
    targets: Targets,
    start: Poses,
    *,
    neighbours: Array,
    shifts_px: Array,
    padding: int,
) -> tuple[Array, Array]:
    """Compiled `cryoframe.numerics.pose_search.generic_local_scores`."""
    m, k = start.scores.shape
    cross = np.zeros((m, k, len(neighbours), len(shifts_px)), dtype=np.float32)
    square = np.zeros((m, k, len(neighbours)), dtype=np.float32)
    _local_scores(
        volume_ft,
        targets.values,
        targets.weights,
        targets.points.astype(np.float64),
        np.ascontiguousarray(start.rotations, dtype=np.float64),
        np.ascontiguousarray(start.shifts_px, dtype=np.float64),
        np.isfinite(start.scores),
        np.ascontiguousarray(neighbours, dtype=np.float64),
        np.ascontiguousarray(shifts_px, dtype=np.float64),
        np.array([-2.0 * np.pi / targets.box_px, float(padding)]),
        cross,
        square,
    )
    return cross, square
