"""The real β-galactosidase particles, their published poses and the map of the same frame, for the plugins' tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoframe import ParticleStack, StageContext, Volume
from cryoframe.formats import mrc
from cryoframe.formats.star_products import stack_from_star
from cryoframe.numerics import masks, rotations
from cryoframe.numerics.resample import resample_volume
from cryoframe_model import seed

FOLDER = Path("particles") / "betagal_K2_EMPIAR-10204"
MAP = Path("maps") / "betaGal_NGL.mrc"
POSE = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A", "pose_score")


def particles(shared_data: Path, tmp_path: Path) -> ParticleStack:
    """The 593 curated particles with published poses and half-sets."""
    return stack_from_star(shared_data / FOLDER / "particles_dev_593.star", images_path=tmp_path / "betagal.raw")


def picks(shared_data: Path, tmp_path: Path) -> ParticleStack:
    """All 1 157 picks, junk included."""
    path = shared_data / FOLDER / "all_picks_dev_1157_ctf_from_tutorial.star"
    return stack_from_star(path, images_path=tmp_path / "picks.raw")


def without_poses(stack: ParticleStack) -> ParticleStack:
    return replace(stack, particles=stack.particles.without([name for name in POSE if name in stack.particles.names]))


def poses_of(stack_or_table) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrices and shifts [Å]."""
    table = getattr(stack_or_table, "particles", stack_or_table)
    angles = (table.floats(name) for name in ("rot_deg", "tilt_deg", "psi_deg"))
    return rotations.euler_to_matrix(*angles), np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1)


def published_map(shared_data: Path, n: int, pixel_size_A: float) -> Volume:
    """The deposited map in the particles' frame and box; its true voxel is 3.54 Å."""
    data, _ = mrc.read(shared_data / MAP)
    return Volume(resample_volume(data, 3.54, n=n, new_pixel_size_A=pixel_size_A), pixel_size_A, "D2")


def model_map(shared_data: Path, tmp_path: Path, stack: ParticleStack) -> Volume:
    """The potential of 5A1A on the D2 axes in the particles' frame, to the particles' Nyquist frequency."""
    params = seed.Params(
        model=shared_data / "models" / "5a1a.cif", symmetry="D2", orientation=3, low_pass_A=2.0 * stack.pixel_size_A
    )
    return seed.make_initial_volume(stack, params, StageContext(tmp_path))


def ball(n: int, pixel_size_A: float, *, radius_A: float = 80.0, edge_A: float = 11.0) -> np.ndarray:
    """The mask that FSC figures of this molecule, 180 Å long, are stated with."""
    return masks.spherical_mask(n, radius_A / pixel_size_A, edge_px=edge_A / pixel_size_A)
