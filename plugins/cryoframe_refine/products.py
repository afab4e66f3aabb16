"""From the state of two half-sets to the products of a refinement; nothing is searched here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe import FscTable, HalfMaps, IterationTable, ParticleStack, ParticleTable, Refinement, Volume
from cryoframe.numerics import fsc
from cryoframe.numerics.rotations import matrix_to_euler
from cryoframe_refine.half import Geometry
from cryoframe_refine.halfset import HalfSet

F32 = npt.NDArray[np.float32]
#: Iteration, resolution [Å], change of orientation [deg] and of shift [Å].
Row = tuple[int, float, float, float]


def assemble(
    stack: ParticleStack,
    halves: list[HalfSet],
    maps: tuple[F32, F32, F32],
    *,
    table: FscTable,
    geometry: Geometry,
    rows: list[Row],
    provenance: str,
) -> Refinement:
    """Make the products of the last iteration.

    Parameters
    ----------
    maps
        `(n, n, n)`: of all particles, regularised; of both halves, without any filter.
    table
        FSC of the halves.
    """
    both, first, second = maps

    def volume(data: F32) -> Volume:
        return Volume(data, geometry.pixel_size_A, geometry.symmetry, provenance)

    return Refinement(
        volume=volume(both),
        half_maps=HalfMaps(volume(first), volume(second)),
        fsc=table,
        particles=with_poses(stack.particles, halves, geometry),
        iterations=IterationTable.from_columns(
            {
                "iteration": np.array([row[0] for row in rows], dtype=np.int32),
                **{
                    name: np.array([row[column] for row in rows], dtype=np.float32)
                    for column, name in enumerate(("resolution_A", "angle_change_deg", "shift_change_A"), 1)
                },
                # Times differ from run to run and results must not: they are reported as metrics.
            }
        ),
    )


def fsc_table(first: F32, second: F32, geometry: Geometry) -> FscTable:
    """FSC of the half-maps as they are and within the mask of the refinement."""
    bare = fsc.fsc_curve(first, second, pixel_size_A=geometry.pixel_size_A)
    masked = fsc.fsc_curve(first, second, pixel_size_A=geometry.pixel_size_A, mask=geometry.volume_mask)
    return FscTable.of_shells(bare.frequency_1_A, bare.n_voxels, fsc_unmasked=bare.fsc, fsc_masked=masked.fsc)


def with_poses(particles: ParticleTable, halves: list[HalfSet], geometry: Geometry) -> ParticleTable:
    """Rows of both half-sets, in the order of the table, with the poses found; those of no half-set are left out."""
    half_of = np.asarray(particles.column("half"))
    columns = {
        name: np.zeros(len(particles), dtype=np.float32)
        for name in ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A", "pose_score")
    }
    for number, half in zip((1, 2), halves, strict=True):
        if half.modes is None:
            continue
        rows = half_of == number
        rot, tilt, psi = matrix_to_euler(half.modes.rotations[:, 0])
        shift = half.modes.shifts_px[:, 0] * geometry.pixel_size_A
        found = (rot, tilt, psi, shift[:, 0], shift[:, 1], half.modes.share[:, 0])
        for column, values in zip(columns.values(), found, strict=True):
            column[rows] = values.astype(np.float32)
    return particles.with_columns(columns).select((half_of == 1) | (half_of == 2))
