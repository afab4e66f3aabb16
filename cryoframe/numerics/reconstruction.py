"""Maps from images of known pose: accumulating, solving and gridding correction; no pose is searched here."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import namespace
from cryoframe.numerics.fourier import fft2_centred
from cryoframe.numerics.insertion import Accumulator, empty_accumulator, insert_points, symmetric_rotations
from cryoframe.numerics.interpolate import at_points, half_points
from cryoframe.numerics.padded_fourier import middle_of_ifft3
from cryoframe.numerics.projection import gridding_correction

Array = npt.NDArray[Any]

# Values of the sums that are looked at together.
_PLANE_VALUES = 2**22


def shift_at_points(values: Array, points: Array, shifts_px: Array, *, n: int) -> Array:
    """Transforms, known at chosen frequencies, of images moved by `shifts_px`.

    Parameters
    ----------
    values
        `(m, p)` complex.
    points
        `(p, 2)` (kx, ky) [cycles per box].
    shifts_px
        `(m, 2)` (dx, dy); content moves by +dx, +dy.
    n
        Box side [px].

    Returns
    -------
    `(m, p)`: times ``exp(-2 pi i k.s / n)``.

    References
    ----------
    Shift theorem: Bracewell, The Fourier Transform and Its Applications (1965), ch. 6.
    """
    xp = namespace(values)
    angle = (-2.0 * np.pi / n) * (xp.asarray(shifts_px, dtype=xp.float64) @ xp.asarray(points, dtype=xp.float64).T)
    shifted: Array = values * xp.exp(1j * angle).astype(values.dtype)
    return shifted


def accumulate(
    accumulator: Accumulator,
    images_ft: Array,
    rotations: Array,
    shifts_px: Array,
    *,
    ctfs: Array | None = None,
    operators: Array | None = None,
    noise_power: Array | None = None,
    image_weights: Array | None = None,
) -> None:
    """Add images of known pose to the sums of a reconstruction.

    Parameters
    ----------
    accumulator
        Added to in place.
    images_ft
        `(m, n, n//2 + 1)` complex64, centred half transforms.
    rotations
        `(m, 3, 3)`.
    shifts_px
        `(m, 2)`: translation to apply to the images.
    ctfs
        `(m, n, n//2 + 1)` float32; ones when absent.
    operators
        `(s, 3, 3)` of the point group; the identity when absent.
    noise_power
        `(m, n//2 + 1)` or `(n//2 + 1,)`: noise power by ring, ones when absent.
    image_weights
        `(m,)`: probability of each pose, ones when absent.

    References
    ----------
    Scheres, J. Struct. Biol. 180, 519 (2012), eq. 8.
    """
    n = images_ft.shape[-2]
    points = half_points(n)
    rings = np.rint(np.hypot(points[:, 0], points[:, 1])).astype(int)
    values = shift_at_points(at_points(images_ft, points), points, shifts_px, n=n)
    weights = np.ones(values.shape, dtype=values.real.dtype)
    if ctfs is not None:
        ctf_values = at_points(ctfs, points)
        values *= ctf_values
        weights = ctf_values**2
    scale = np.ones((len(values), 1), dtype=values.real.dtype)
    if image_weights is not None:
        scale = scale * np.asarray(image_weights, dtype=scale.dtype)[:, None]
    if noise_power is not None:
        scale = scale / np.atleast_2d(np.asarray(noise_power, dtype=scale.dtype))[:, rings]
    placed = np.asarray(rotations) if operators is None else symmetric_rotations(np.asarray(rotations), operators)
    insert_points(accumulator, values * scale, weights * scale, rotations=placed, points=points)


def radial_index(n: int, padding: int = 1) -> npt.NDArray[np.int32]:
    """Ring number, in cycles per unpadded box, of each voxel of a padded half volume `(N, N, N//2 + 1)`."""
    return _rings(n * padding, padding, slice(None), slice(None))


def _rings(side: int, padding: int, planes: slice, columns: slice) -> npt.NDArray[np.int32]:
    """Ring number of some planes and columns of a padded half volume."""
    full = (np.arange(side) - side // 2) ** 2
    half = np.arange(side // 2 + 1) ** 2
    radius = np.sqrt(full[planes, None, None] + full[None, :, None] + half[None, None, columns])
    radius /= padding
    return np.asarray(np.rint(radius, out=radius), dtype=np.int32)


def complete_symmetric_plane(accumulator: Accumulator) -> tuple[Array, Array]:
    """Numerator and weight with Hermitian mates on the plane kx = 0 added together.

    A sample near that plane is stored once, at x >= 0, yet contributes to both voxels of a mate pair.
    """
    numerator, weight = accumulator.numerator.copy(), accumulator.weight.copy()
    numerator[:, :, 0], weight[:, :, 0] = _completed_plane(accumulator)
    return numerator, weight


def _completed_plane(accumulator: Accumulator) -> tuple[Array, Array]:
    """Return numerator and weight `(N, N)` on the plane kx = 0."""
    xp = namespace(accumulator.numerator)
    side = accumulator.numerator.shape[0]
    mate = xp.asarray((side - np.arange(side)) % side)
    plane, density = accumulator.numerator[:, :, 0], accumulator.weight[:, :, 0]
    return plane + xp.conj(plane[mate][:, mate]), density + density[mate][:, mate]


def shell_means(values: Array, index: Array, n_shells: int) -> npt.NDArray[np.float64]:
    """Mean of `values` over each ring of `index`, `(n_shells,)`; rings beyond are ignored, empty ones give 0."""
    keep = index < n_shells
    count = np.bincount(index[keep], minlength=n_shells)
    total = np.bincount(index[keep], weights=np.asarray(values[keep], dtype=np.float64), minlength=n_shells)
    return np.asarray(total / np.maximum(count, 1), dtype=np.float64)


def _weight_by_shell(accumulator: Accumulator, density: Array) -> npt.NDArray[np.float64]:
    """Mean weight `(n//2 + 1,)` of each ring, some planes at a time; `density` is that on the plane kx = 0."""
    side, n_shells = accumulator.numerator.shape[0], accumulator.box_px // 2 + 1
    count, total = np.zeros(n_shells + 1), np.zeros(n_shells + 1)
    step = max(1, _PLANE_VALUES // side**2)
    for first in range(0, side, step):
        planes = slice(first, min(first + step, side))
        index = np.minimum(_rings(side, accumulator.padding, planes, slice(None)), n_shells).ravel()
        weight = accumulator.weight[planes].copy()
        weight[:, :, 0] = density[planes]
        count += np.bincount(index, minlength=n_shells + 1)
        total += np.bincount(index, weights=weight.ravel(), minlength=n_shells + 1)
    return np.asarray(total[:-1] / np.maximum(count[:-1], 1.0), dtype=np.float64)


def solve(accumulator: Accumulator, *, ssnr: Array | None = None, wiener: float = 1e-3) -> Array:
    """Regularised map of the sums.

    Parameters
    ----------
    accumulator
        Sums over all images.
    ssnr
        `(n//2 + 1,)`: signal to noise ratio of the result by shell, as from ``FSC / (1 - FSC)``; each shell's mean
        weight over it is added to the weights (tau^2 in units of the noise). Without it, a constant is used.
    wiener
        Constant term, as a fraction of the mean weight of the shell.

    Returns
    -------
    `(n, n, n)` float32, gridding corrected, origin at n//2.

    Raises
    ------
    InvalidInput
        Nothing was accumulated.

    Notes
    -----
    The sums are read some columns at a time and neither copied nor changed: a box of 256 px, whose sums hold 0.8 GB,
    is solved in 0.4 GB more.

    References
    ----------
    Scheres, J. Struct. Biol. 180, 519 (2012), eq. 8; gridding: O'Sullivan (1985), doi:10.1109/TMI.1985.4307723.
    """
    n, padding, side = accumulator.box_px, accumulator.padding, accumulator.numerator.shape[0]
    plane, density = _completed_plane(accumulator)
    if not float(max(accumulator.weight.max(), density.max())) > 0.0:
        raise InvalidInput(
            "the accumulator holds no slices", expected="at least one image", remedy="Accumulate before solving."
        )
    means = _weight_by_shell(accumulator, density)
    n_shells = n // 2 + 1
    prior = np.full(n_shells, wiener) if ssnr is None else 1.0 / np.clip(np.asarray(ssnr, dtype=np.float64), 1e-3, 1e4)
    floor = np.maximum(prior * means, 1e-6 * means.max()).astype(accumulator.weight.dtype)
    # Beyond the last ring nothing weighs anything.
    floor = np.append(floor, np.inf).astype(floor.dtype)

    def estimate(part: slice) -> npt.NDArray[np.complex64]:
        numerator, weight = accumulator.numerator[:, :, part], accumulator.weight[:, :, part]
        if part.start == 0:
            numerator, weight = numerator.copy(), weight.copy()
            numerator[:, :, 0], weight[:, :, 0] = plane, density
        index = np.minimum(_rings(side, padding, slice(None), part), n_shells)
        return np.asarray(numerator / (weight + floor[index]), dtype=np.complex64)

    volume: Array = middle_of_ifft3(estimate, side, n)
    volume /= gridding_correction(n, padding=padding)
    return volume


def reconstruct(
    images: Array,
    rotations: Array,
    shifts_px: Array,
    *,
    ctfs: Array | None = None,
    operators: Array | None = None,
    padding: int = 2,
    wiener: float = 1e-3,
) -> Array:
    """Back-project images of known pose into a map.

    Parameters
    ----------
    images
        `(m, n, n)` float32, protein bright.
    rotations
        `(m, 3, 3)`; map frame to projection frame.
    shifts_px
        `(m, 2)`: translation to apply to the images.
    ctfs
        `(m, n, n//2 + 1)`; ones when absent.
    operators
        `(s, 3, 3)` of the point group.
    padding
        Of the Fourier grid.
    wiener
        As in :func:`solve`.

    Returns
    -------
    `(n, n, n)` float32.

    References
    ----------
    Direct Fourier inversion: DeRosier & Klug, Nature 217, 130 (1968); weights: Scheres (2012), eq. 8.
    """
    accumulator = empty_accumulator(images.shape[-1], padding=padding)
    accumulate(accumulator, fft2_centred(np.asarray(images)), rotations, shifts_px, ctfs=ctfs, operators=operators)
    return solve(accumulator, wiener=wiener)
