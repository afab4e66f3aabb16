"""Compiled local pose scores; meaning as in cryoframe.numerics.pose_search."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import prange

from cryoframe.numerics._numba.jit import jit

if TYPE_CHECKING:
    from cryoframe.numerics.pose_search import Poses, Targets

Array = npt.NDArray[Any]


# Translations are handled eight at a time: a loop of constant length becomes vector instructions without any
# re-association of sums.
LANES = 8
# Points of a slice that all neighbours read before the next ones are: these lie close together in the volume, and what
# one has read the others find in the fast part of memory.
POINTS = 128


@jit
def _shift_table(values: Array, points: Array, shift: Array, shifts: Array, real: Array, imaginary: Array) -> None:
    """Moved targets, `(b, p, 8)` each part, with translations fastest."""
    for p in range(points.shape[0]):
        vr, vi = values[p].real, values[p].imag
        for t in range(shifts.shape[0]):
            angle = points[p, 0] * (shift[0] + shifts[t, 0]) + points[p, 1] * (shift[1] + shifts[t, 1])
            c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            real[t // LANES, p, t % LANES] = vr * c - vi * s
            imaginary[t // LANES, p, t % LANES] = vr * s + vi * c


@jit
def _read_slice(volume: Array, points: Array, a: Array, vr: Array, vi: Array) -> None:
    """Real and imaginary parts of one slice; `volume` `(n, n, n//2 + 1, 2)` are the pairs of a complex volume."""
    n = volume.shape[0]
    one = np.float32(1.0)
    for p in range(points.shape[0]):
        kx, ky = points[p, 0], points[p, 1]
        x = kx * a[0, 0] + ky * a[1, 0]
        y = kx * a[0, 1] + ky * a[1, 1]
        z = kx * a[0, 2] + ky * a[1, 2]
        sign = one
        if x < 0.0:
            x, y, z, sign = -x, -y, -z, -one
        # Half a box added first makes all parts positive, where truncation is the floor.
        y += n // 2
        z += n // 2
        x0, y0, z0 = int(x), int(y), int(z)
        fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
        x1 = min(x0 + 1, n // 2)
        y1 = y0 + 1 if y0 + 1 < n else 0
        z1 = z0 + 1 if z0 + 1 < n else 0
        low, high = (one - fz) * (one - fy), (one - fz) * fy
        low_up, high_up = fz * (one - fy), fz * fy
        near_re = (
            low * volume[z0, y0, x0, 0]
            + high * volume[z0, y1, x0, 0]
            + low_up * volume[z1, y0, x0, 0]
            + high_up * volume[z1, y1, x0, 0]
        )
        near_im = (
            low * volume[z0, y0, x0, 1]
            + high * volume[z0, y1, x0, 1]
            + low_up * volume[z1, y0, x0, 1]
            + high_up * volume[z1, y1, x0, 1]
        )
        far_re = (
            low * volume[z0, y0, x1, 0]
            + high * volume[z0, y1, x1, 0]
            + low_up * volume[z1, y0, x1, 0]
            + high_up * volume[z1, y1, x1, 0]
        )
        far_im = (
            low * volume[z0, y0, x1, 1]
            + high * volume[z0, y1, x1, 1]
            + low_up * volume[z1, y0, x1, 1]
            + high_up * volume[z1, y1, x1, 1]
        )
        vr[p] = near_re + fx * (far_re - near_re)
        vi[p] = sign * (near_im + fx * (far_im - near_im))


@jit
def _products(vr: Array, vi: Array, real: Array, imaginary: Array, total: Array) -> None:
    """Add inner products of part of a slice with eight moved targets."""
    for p in range(vr.shape[0]):
        a, b = vr[p], vi[p]
        for lane in range(LANES):
            total[lane] += a * real[p, lane] + b * imaginary[p, lane]


@jit
def _add_energy(weights: Array, vr: Array, vi: Array, energy: float) -> float:
    """Weighted power of part of a slice, added to that of the parts before."""
    total = np.float32(energy)
    for p in range(weights.shape[0]):
        total += weights[p] * (vr[p] * vr[p] + vi[p] * vi[p])
    return float(total)


@jit(parallel=True)
def _local_scores(
    volume: Array,
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
    n_blocks = (n_shifts + LANES - 1) // LANES
    for i in prange(rotations.shape[0]):
        real = np.zeros((n_blocks, n_points, LANES), dtype=np.float32)
        imaginary = np.zeros((n_blocks, n_points, LANES), dtype=np.float32)
        total = np.empty((neighbours.shape[0], n_blocks, LANES), dtype=np.float32)
        vr, vi = np.empty(POINTS, dtype=np.float32), np.empty(POINTS, dtype=np.float32)
        padded, turned = points * scale[1], np.empty((neighbours.shape[0], 3, 3))
        for j in range(rotations.shape[1]):
            if not alive[i, j]:
                continue
            for c in range(neighbours.shape[0]):
                turned[c] = neighbours[c] @ rotations[i, j]
            _shift_table(values[i], points * scale[0], starts[i, j], shifts, real, imaginary)
            total[:] = 0.0
            for first in range(0, n_points, POINTS):
                last = min(first + POINTS, n_points)
                for c in range(neighbours.shape[0]):
                    _read_slice(volume, padded[first:last], turned[c], vr, vi)
                    square[i, j, c] = _add_energy(weights[i, first:last], vr, vi, square[i, j, c])
                    for block in range(n_blocks):
                        _products(
                            vr[: last - first],
                            vi[: last - first],
                            real[block, first:last],
                            imaginary[block, first:last],
                            total[c, block],
                        )
            for block in range(n_blocks):
                begin = block * LANES
                end = min(begin + LANES, n_shifts)
                cross[i, j, :, begin:end] = total[:, block, : end - begin]


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
    n = volume_ft.shape[0]
    pairs = np.ascontiguousarray(volume_ft, dtype=np.complex64).view(np.float32).reshape(n, n, n // 2 + 1, 2)
    _local_scores(
        pairs,
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
