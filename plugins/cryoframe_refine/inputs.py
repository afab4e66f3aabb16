"""From a stack and its settings to what a refinement begins with: masks, half-sets of images, the start; no search."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryoframe import Mask, ParticleStack, Volume
from cryoframe.errors import InvalidInput
from cryoframe.numerics import ctf, filters, masks, polar_images
from cryoframe.numerics.bounds import check_extent
from cryoframe.numerics.refine_images import ImageSet
from cryoframe.numerics.symmetry import canonical_group, rotation_matrices
from cryoframe_refine.half import Geometry
from cryoframe_refine.halfset import resized

F32 = npt.NDArray[np.float32]

_CTF = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
#: A micrograph with this many particles in a half-set has a noise spectrum of its own; else its optics group has.
_OWN_NOISE = 100


class Extent(Protocol):
    """What settings must hold for the extent of particles and of their search."""

    @property
    def symmetry(self) -> str:
        """Point group; empty = that of the reference."""

    @property
    def particle_diameter_A(self) -> float:
        """Of the soft masks; 0 = 85 % of the box."""

    @property
    def offset_range_A(self) -> float:
        """How far from the box centre a particle may lie; 0 = 20 % of the box."""


def geometry_of(stack: ParticleStack, reference: Volume, mask: Mask | None, params: Extent) -> Geometry:
    """Masks, symmetry and sampling of a stack and its settings; refuses an extent that does not fit the box."""
    n = int(stack.images.shape[-1])
    group = canonical_group(params.symmetry or reference.symmetry)
    pixel = stack.pixel_size_A
    check_extent(n * pixel, particle_diameter_A=params.particle_diameter_A, offset_range_A=params.offset_range_A)
    radius_px = 0.5 * (params.particle_diameter_A / pixel or 0.85 * n)
    edge_px = max(3.0, 0.06 * n)
    inner = min(radius_px, n / 2 - 1) - 0.5 * edge_px
    ball = masks.spherical_mask(n, inner, edge_px=edge_px)
    return Geometry(
        box_px=n,
        pixel_size_A=pixel,
        symmetry=group,
        operators=rotation_matrices(group),
        image_mask=masks.circular_mask(n, inner, edge_px=edge_px),
        radius_px=radius_px,
        volume_mask=ball if mask is None else ball * mask.data,
        offset_range_px=params.offset_range_A / pixel or 0.2 * n,
    )


def start_of(reference: Volume, geometry: Geometry, low_pass_A: float, *, finer: float) -> F32:
    """Return what both half-sets begin with, on voxels for frequencies that much finer than its own."""
    start = filters.filter_pass(
        np.asarray(reference.data, dtype=np.float32),
        pixel_size_A=geometry.pixel_size_A,
        n_dims=3,
        low_pass_A=low_pass_A,
    )
    side = polar_images.cropped_side(geometry.box_px, finer * geometry.ring(low_pass_A))
    return resized((start * geometry.volume_mask).astype(np.float32), side)


def image_sets(stack: ParticleStack, order: npt.NDArray[np.int64], geometry: Geometry) -> list[ImageSet]:
    """Images of both half-sets; `order` says where in the stack each particle of the table is."""
    particles = stack.particles
    half_of = np.asarray(particles.column("half"))
    optics = polar_images.make_optics(
        particles.column("optics_group"),
        {o.optics_group: (o.voltage_kV, o.cs_mm, o.amplitude_contrast_frac) for o in stack.optics},
        {name: particles.floats(name) for name in _CTF},
    )
    edge_px = max(3.0, 0.06 * geometry.box_px)
    sets = []
    for number in (1, 2):
        rows = np.flatnonzero(half_of == number)
        if not len(rows):
            raise InvalidInput(
                f"half-set {number} has no particles", expected="particles in half-sets 1 and 2 (column `half`)"
            )
        groups = _noise_groups(stack, rows)
        mine = polar_images.Optics(optics.columns[rows], optics.group[rows], optics.settings)
        radius_px = min(geometry.radius_px, geometry.box_px / 2 - 1)
        sets.append(ImageSet(stack.images, order[rows], mine, groups, geometry.pixel_size_A, radius_px, edge_px))
    return sets


def _noise_groups(stack: ParticleStack, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of each image's noise spectrum: its micrograph's where that has enough images, else its optics group's."""
    optics_group = np.asarray(stack.particles.column("optics_group"))[rows].astype(str)
    label = np.char.add("optics ", optics_group)
    if "micrograph_id" in stack.particles.names:
        micrograph = np.asarray(stack.particles.column("micrograph_id"))[rows].astype(str)
        _, place, count = np.unique(micrograph, return_inverse=True, return_counts=True)
        label = np.where(count[place] >= _OWN_NOISE, np.char.add("micrograph ", micrograph), label)
    return np.asarray(np.unique(label, return_inverse=True)[1], dtype=np.int64)


def ctfs_of(stack: ParticleStack, rows: npt.NDArray[np.int64]) -> F32:
    """CTFs `(m, n, n//2 + 1)` of some particles."""
    n = int(stack.images.shape[-1])
    optics = {o.optics_group: (o.voltage_kV, o.cs_mm, o.amplitude_contrast_frac) for o in stack.optics}
    names = ("defocus_u_A", "defocus_v_A", "defocus_angle_deg", "phase_shift_deg")
    columns = {name: stack.particles.floats(name)[rows] for name in names}
    groups = stack.particles.column("optics_group")[rows]
    return ctf.ctf_of_groups(n, stack.pixel_size_A, groups=groups, optics=optics, columns=columns)
