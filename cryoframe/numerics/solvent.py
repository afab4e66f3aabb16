"""What a molecule displaces: the continuum of ice taken out of its potential; random ice is in ice.

An image shows a molecule against the ice it replaces, so the mean potential of ice is subtracted where there is none.
The space of the molecule is the union of its atoms' spheres, grown by a probe and shrunk again, so that clefts too
narrow for water belong to it.
"""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Bools, Floats
from cryoframe.numerics.fourier import fourier_crop, fourier_pad, good_size, irfftn, rfftn
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.ice import VITREOUS_ICE

#: Half a molecule's sphere on a voxel counts as inside; below it, rounding of the transform does not.
_TOUCHES = 0.5
#: The space is found on voxels no larger than this, whatever the voxel of the map, but in boxes no larger than that.
_SPACE_VOXEL_A = 1.0
_LARGEST_SPACE_PX = 384


def _near(inside: Bools, reach_A: float, pixel_size_A: float) -> Bools:
    """Voxels within `reach_A` of one that is inside (dilation by a sphere, periodic)."""
    if reach_A < 0.5 * pixel_size_A:
        return inside
    n = inside.shape[0]
    axis = np.minimum(np.arange(n), n - np.arange(n)) * pixel_size_A
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    ball = (x * x + y * y + z * z <= reach_A**2).astype(np.float32)
    touched = irfftn(rfftn(inside.astype(np.float32), n_dims=3) * rfftn(ball, n_dims=3), inside.shape)
    near: Bools = touched > _TOUCHES
    return near


def molecular_space(
    positions_A: Floats,
    *,
    n: int,
    pixel_size_A: float,
    radius_A: float = 1.7,
    probe_A: float = 1.1,
    shrink_A: float = 1.1,
) -> Bools:
    """Voxels that no water can enter.

    Parameters
    ----------
    positions_A
        `(m, 3)` (x, y, z) of the heavy atoms from the origin of the box, voxel ``n//2``.
    n, pixel_size_A
        Box and voxel, 1 Å or finer for the radii to be resolved.
    radius_A, probe_A, shrink_A
        Van der Waals radius of an atom (one for all; carbon's), what it is grown by and then shrunk by.

    Returns
    -------
    `(n, n, n)` bool, axes (z, y, x).

    References
    ----------
    Jiang & Brünger, J. Mol. Biol. 243, 100 (1994), doi 10.1006/jmbi.1994.1633; for images: Shang & Sigworth, J. Struct.
    Biol. 180, 10 (2012), doi 10.1016/j.jsb.2012.04.021, who find this binary mask nearly as good as their continuum.
    """
    if n < 2 or not pixel_size_A > 0 or min(radius_A, probe_A, shrink_A) < 0:
        raise InvalidInput(
            f"a box of {n} px of {pixel_size_A} Å and radii {radius_A}, {probe_A}, {shrink_A} Å were given",
            expected="positive sizes, radii of 0 or more",
        )
    index = np.round(np.asarray(positions_A) / pixel_size_A).astype(np.int64) + n // 2
    index = index[np.all((index >= 0) & (index < n), axis=1)]
    atoms = np.zeros((n, n, n), dtype=np.bool_)
    atoms[index[:, 2], index[:, 1], index[:, 0]] = True
    grown = _near(atoms, radius_A + probe_A, pixel_size_A)
    space: Bools = ~_near(~grown, shrink_A, pixel_size_A)
    return space


def displace_solvent(
    volume: F32, space: Bools, pixel_size_A: float, *, edge_A: float = 1.0, potential_1_A2: float | None = None
) -> F32:
    """Potential of a molecule against ice: `volume` minus the mean potential of ice in its space.

    Parameters
    ----------
    volume
        `(n, n, n)` potential in vacuum [1/Å²].
    space
        `(n, n, n)` from :func:`molecular_space`.
    pixel_size_A
        Voxel.
    edge_A
        Standard deviation of the Gaussian that softens the border.
    potential_1_A2
        Mean inner potential of the solvent; that of vitreous ice where omitted.

    Returns
    -------
    `(n, n, n)` float32, 0 far from the molecule.
    """
    if volume.shape != space.shape:
        raise InvalidInput(f"a volume of {volume.shape} and a space of {space.shape} were given", expected="one shape")
    mean = VITREOUS_ICE.mean_potential_1_A2 if potential_1_A2 is None else potential_1_A2
    k = frequencies_1_A(volume.shape, pixel_size_A, False)
    blur = np.exp(-2.0 * (np.pi * edge_A * k) ** 2).astype(np.float32)
    soft = irfftn(rfftn(space.astype(np.float32), n_dims=3) * blur, space.shape)
    return (volume - np.float32(mean) * soft).astype(np.float32)


def displaced_ice(
    positions_A: Floats, *, n: int, pixel_size_A: float, edge_A: float = 1.0, potential_1_A2: float | None = None
) -> F32:
    """Potential of the ice that a molecule takes the place of, on any voxel: what its own is to be lessened by.

    The molecule's space is found on voxels of 1 Å or a little less (1/384 of the box where that is more) and brought
    to the grid by its transform, so that coarse maps hold its part within their Nyquist frequency and nothing folded
    back.

    Parameters
    ----------
    positions_A
        `(m, 3)` (x, y, z) of the heavy atoms from the origin of the box, voxel ``n//2``.
    n, pixel_size_A
        Box, even, and voxel.
    edge_A, potential_1_A2
        As in :func:`displace_solvent`.

    Returns
    -------
    `(n, n, n)` float32 [1/Å²], 0 or more but for the overshoot of its own Fourier series, 0 far from the molecule.

    References
    ----------
    As :func:`molecular_space`.
    """
    if n < 2 or n % 2 or not pixel_size_A > 0:
        raise InvalidInput(f"a box of {n} px of {pixel_size_A} Å was given", expected="an even box, positive voxels")
    n_space = min(good_size(int(np.ceil(n * pixel_size_A / _SPACE_VOXEL_A))), _LARGEST_SPACE_PX)
    voxel_A = n * pixel_size_A / n_space
    space = molecular_space(positions_A, n=n_space, pixel_size_A=voxel_A)
    ice = -displace_solvent(
        np.zeros(space.shape, np.float32), space, voxel_A, edge_A=edge_A, potential_1_A2=potential_1_A2
    )
    if n_space == n:
        return ice
    resized = (fourier_crop if n < n_space else fourier_pad)(ice, (n, n, n), origin="centre")
    return np.asarray(resized, dtype=np.float32)
