"""What is the same for all images, and images held in memory as 3-D classification looks at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics import (
    interpolate,
    pose_posterior,
    pose_search,
    projection,
    residuals,
)
from cryoframe.numerics.fourier import fft2_centred, fourier_crop
from cryoframe.numerics.rotations import euler_to_matrix, psi_grid
from cryoframe.numerics.symmetry import directions_in_asymmetric_unit
from cryoframe_refine.plan import Plan

Array = npt.NDArray[Any]


#: Candidates whose likelihood is exp(-this) of the best one's are not followed further.
HOPELESS = 12.0


@dataclass(frozen=True)
class Geometry:
    """What is the same for all images: sampling, symmetry, masks."""

    box_px: int
    pixel_size_A: float
    symmetry: str
    operators: Array
    image_mask: Array
    volume_mask: Array
    offset_range_px: float
    radius_px: float

    @property
    def mask_frac(self) -> float:
        """Share of an image that its mask leaves: independent samples per transform value."""
        return float((self.image_mask**2).mean())

    def mask_of(self, side: int) -> Array:
        """The mask of the map `(side, side, side)` on fewer voxels."""
        if side == self.box_px:
            return self.volume_mask
        fewer = fourier_crop(np.asarray(self.volume_mask, dtype=np.float32), (side,) * 3, origin="centre")
        return np.asarray(np.clip(fewer, 0.0, 1.0), dtype=np.float32)

    def at_side(self, side: int) -> Geometry:
        """Geometry of maps over the same length on fewer voxels."""
        if side == self.box_px:
            return self
        voxel_A = self.pixel_size_A * self.box_px / side
        return replace(self, box_px=side, pixel_size_A=voxel_A, volume_mask=self.mask_of(side))

    def ring(self, spacing_A: float) -> float:
        """Frequency of a spacing [cycles per box]."""
        return self.box_px * self.pixel_size_A / spacing_A


@dataclass(frozen=True)
class Half:
    """Images of a classification with their noise, poses and map between iterations."""

    images: Array
    ctfs: Array
    groups: Array
    reference: Array
    poses: pose_posterior.PoseEstimate | None = None
    noise_power: Array | None = None


@dataclass(frozen=True)
class Seen:
    """Candidate poses of images against one map, with the transforms and the noise they were scored with."""

    candidates: pose_search.Poses
    images_ft: Array
    noise_power: Array


def look(half: Half, geometry: Geometry, plan: Plan, on_batch: Callable[[int], None]) -> Seen:
    """Score candidate poses of the images against their map, level by level."""
    first = half.poses is None
    images_ft = transforms(half, geometry)
    noise = half.noise_power
    if noise is None:
        noise = residuals.group_spectra(residuals.power_by_ring(images_ft), half.groups)
    volume_ft = projection.prepare_volume(half.reference)

    def targets(limit_A: float) -> pose_search.Targets:
        points = interpolate.half_points(geometry.box_px, r_min=1.0, r_max=geometry.ring(limit_A))
        return pose_search.make_targets(images_ft, half.ctfs, noise, points, free_scale=first)

    candidates = _start(half, geometry, plan, volume_ft, targets(plan.coarse_limit_A), on_batch)
    for level in plan.levels:
        candidates = pose_search.search_local(
            volume_ft,
            targets(level.limit_A),
            pose_search.without_hopeless(candidates, HOPELESS / geometry.mask_frac),
            neighbours=pose_search.rotation_neighbours(level.step_deg, level.per_axis),
            shifts_px=pose_search.shift_grid(level.shift_step_px, level.shift_step_px),
            n_keep=level.n_keep,
        )
    return Seen(candidates, images_ft, noise)


def transforms(half: Half, geometry: Geometry) -> Array:
    """Transforms of the images, masked where the particles are once poses are known."""
    if half.poses is None:
        return np.asarray(fft2_centred(half.images), dtype=np.complex64)
    return pose_posterior.masked_transforms(half.images, half.poses.shifts_px, geometry.image_mask)


def _start(  # the six things a whole search depends on
    half: Half,
    geometry: Geometry,
    plan: Plan,
    volume_ft: Array,
    targets: pose_search.Targets,
    on_batch: Callable[[int], None],
) -> pose_search.Poses:
    """Candidates of the whole search, or the poses known."""
    if half.poses is not None and not plan.coarse_step_deg:
        return half.poses.candidates()
    directions = directions_in_asymmetric_unit(plan.coarse_step_deg, geometry.symmetry)
    psi = psi_grid(plan.coarse_step_deg)
    grid = euler_to_matrix(
        np.repeat(directions[:, 0], len(psi)), np.repeat(directions[:, 1], len(psi)), np.tile(psi, len(directions))
    )
    # A third of the finest spacing scored: the next level halves the step.
    step_px = max(1.0, plan.coarse_limit_A / 3.5 / geometry.pixel_size_A)
    reach_px = geometry.offset_range_px if half.poses is None else min(geometry.offset_range_px, 2.0 * step_px)
    return pose_search.search_grid(
        volume_ft,
        targets,
        grid,
        pose_search.shift_grid(reach_px, step_px),
        n_keep=plan.n_coarse,
        centres_px=None if half.poses is None else half.poses.shifts_px,
        on_batch=on_batch,
    )
