"""Maps of electrostatic potential from atoms; files of models and tables of scattering factors are read elsewhere."""

from __future__ import annotations

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats, Ints, Reals, native
from cryoframe.numerics.filters import filter_pass
from cryoframe.numerics.fourier import fft3_centred, ifft3_centred, resize_centred_ft
from cryoframe.numerics.grids import frequencies_1_A

_REACH_SIGMA = 4.5
_LARGEST_FINE_PX = 512
_LARGEST_MIDDLE_PX = 512
#: Atoms of equal kind whose B-factors agree to this [Å²] share Gaussians; half of it is 0.5 % at 1.1 Å.
_B_BIN_A2 = 0.05


def add_gaussians(volume: F32, centres: Reals, kinds: Ints, heights: Reals, rates: Reals, reach: float) -> None:
    """Reference of the compiled loop of the same name."""
    z, y, x = np.indices(volume.shape)
    for centre, kind in zip(centres, kinds, strict=True):
        dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
        near = np.maximum(np.maximum(np.abs(dx), np.abs(dy)), np.abs(dz)) <= reach
        squared = (dx * dx + dy * dy + dz * dz)[near]
        volume[near] += np.sum(heights[kind] * np.exp(-rates[kind] * squared[:, None]), axis=1).astype(np.float32)


def potential(
    positions_A: Floats,
    kinds: Ints,
    factors: tuple[Floats, Floats],
    *,
    b_factors_A2: Floats,
    n: int,
    pixel_size_A: float,
    low_pass_A: float | None = None,
    occupancies: Floats | None = None,
) -> F32:
    """Electrostatic potential of atoms on a cubic grid.

    Parameters
    ----------
    positions_A
        `(m, 3)` (x, y, z) [Å] from the origin of the box, voxel ``n//2``. Atoms outside are left out.
    kinds
        `(m,)` row of `factors` of each atom.
    factors
        `(s, g)` heights [Å] and `(s, g)` widths [Å²] of f(k) = Σ a·exp(−b·k²/4).
    b_factors_A2
        `(m,)` isotropic.
    n, pixel_size_A
        Box and voxel; n even.
    low_pass_A
        Nothing finer is kept; the Nyquist frequency where omitted.
    occupancies
        `(m,)`; 1 where omitted.

    Returns
    -------
    `(n, n, n)` float32, axes (z, y, x), whose sum times the voxel's volume is Σ f(0) [Å], the atoms' total. Times
    47.878 V·Å² it is in volts.

    References
    ----------
    Peng, Ren, Dudarev & Whelan, Acta Cryst. A52, 257 (1996), doi 10.1107/S0108767395014371, eq. 1 and 5; real-space
    form: Vulović et al., J. Struct. Biol. 183, 19 (2013), doi 10.1016/j.jsb.2013.05.008, eq. 14.
    """
    if n % 2 or n < 2 or not pixel_size_A > 0:
        raise InvalidInput(f"a box of {n} px of {pixel_size_A} Å was given", expected="an even box, positive voxels")
    n_fine = _fine_size(n, pixel_size_A, low_pass_A)
    fine_A = pixel_size_A * n / n_fine
    # Wide enough that a sample a voxel carries the Gaussian; taken back in Fourier space below.
    blur_A2 = 8.0 * np.pi**2 * fine_A**2
    volume = np.zeros((n_fine, n_fine, n_fine), dtype=np.float32)
    _splat(volume, fine_A, positions_A, kinds, factors, b_factors_A2 + blur_A2, occupancies)
    ft = resize_centred_ft(fft3_centred(volume), n, n_dims=3)
    k = frequencies_1_A((n, n, n), pixel_size_A)
    # Frequencies beyond Nyquist, in the corners, would be blown up.
    sharpen = np.where(k <= 0.5 / pixel_size_A, np.exp(0.25 * blur_A2 * np.minimum(k, 0.5 / pixel_size_A) ** 2), 0.0)
    ft *= (sharpen * (n / n_fine) ** 3).astype(np.float32)
    sharp = ifft3_centred(ft)
    if low_pass_A is None or low_pass_A <= 2.0 * pixel_size_A:
        return sharp.astype(np.float32)
    return filter_pass(sharp, pixel_size_A=pixel_size_A, n_dims=3, low_pass_A=low_pass_A).astype(np.float32)


def _fine_size(n: int, pixel_size_A: float, low_pass_A: float | None) -> int:
    """Side of a grid on which what will be kept reaches to no more than 0.35 cycles a voxel, memory allowing."""
    finest_1_A = min(1.0 / low_pass_A if low_pass_A else np.inf, 0.5 / pixel_size_A)
    if finest_1_A * pixel_size_A <= 0.35:
        return n
    if 2 * n <= _LARGEST_FINE_PX:
        return 2 * n
    # At one and a half the blur still keeps what is folded back to some 1e-3 of what is at Nyquist.
    middle = n + 2 * ((n + 3) // 4)
    return middle if middle <= _LARGEST_MIDDLE_PX else n


def _splat(
    volume: F32,
    voxel_A: float,
    positions_A: Floats,
    kinds: Ints,
    factors: tuple[Floats, Floats],
    b_A2: Floats,
    occupancies: Floats | None,
) -> None:
    """Add all atoms to `volume`; those of like element, B-factor and occupancy share one set of Gaussians."""
    occupied = np.ones(len(kinds)) if occupancies is None else np.asarray(occupancies, dtype=np.float64)
    coarse_b = np.round(np.asarray(b_A2, dtype=np.float64) / _B_BIN_A2) * _B_BIN_A2
    table, group = np.unique(np.stack([kinds, coarse_b, occupied], axis=1), axis=0, return_inverse=True)
    rows = table[:, 0].astype(np.int64)
    width_A2 = np.asarray(factors[1], dtype=np.float64)[rows] + table[:, 1:2]
    heights = np.asarray(factors[0], dtype=np.float64)[rows] * table[:, 2:3] * (4.0 * np.pi / width_A2) ** 1.5
    rates = 4.0 * np.pi**2 / width_A2 * voxel_A**2
    centres = np.asarray(positions_A, dtype=np.float64) / voxel_A + volume.shape[0] // 2
    reach = _REACH_SIGMA * float(np.sqrt(width_A2.max() / (8.0 * np.pi**2))) / voxel_A
    module = native(np, "atoms")
    add = add_gaussians if module is None else module.add_gaussians
    add(volume, centres, group.ravel().astype(np.int64), heights, rates, reach)
