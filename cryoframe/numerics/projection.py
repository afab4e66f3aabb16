"""Central slices of padded, gridding-corrected Fourier volumes; their adjoint lives in insertion."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics import interpolate
from cryoframe.numerics.backend import namespace, native
from cryoframe.numerics.fourier import fft3_centred
from cryoframe.numerics.padded_fourier import fft3_padded

Array = npt.NDArray[Any]


def gridding_correction(n: int, *, padding: int = 2) -> npt.NDArray[np.float32]:
    """Real-space fall-off caused by trilinear interpolation in Fourier space.

    Parameters
    ----------
    n
        Side of the unpadded map [px].
    padding
        Ratio of the padded side to `n`.

    Returns
    -------
    `(n, n, n)` float32: ``sinc^2(x/N) sinc^2(y/N) sinc^2(z/N)`` with N the padded side; 1 at the centre.

    References
    ----------
    Transform of the triangle kernel: O'Sullivan, IEEE Trans. Med. Imaging 4, 200 (1985), doi:10.1109/TMI.1985.4307723.
    """
    profile = np.sinc((np.arange(n) - n // 2) / (n * padding)) ** 2
    cube = profile[:, None, None] * profile[None, :, None] * profile[None, None, :]
    return cube.astype(np.float32)


def prepare_volume(volume: Array, *, padding: int = 2) -> Array:
    """Make the padded, gridding-corrected transform that :func:`project` reads.

    Parameters
    ----------
    volume
        `(n, n, n)` float32, n even, origin at n//2.
    padding
        Ratio of the padded side to `n`.

    Returns
    -------
    `(N, N, N//2 + 1)` complex64 with ``N = padding * n``, zero frequency at [N//2, N//2, 0].

    Raises
    ------
    InvalidInput
        The volume is not a cube of even side.

    References
    ----------
    Gridding: O'Sullivan (1985), doi:10.1109/TMI.1985.4307723.
    """
    xp = namespace(volume)
    if volume.ndim != 3 or len(set(volume.shape)) != 1 or volume.shape[0] % 2:
        raise InvalidInput(
            f"volume has shape {volume.shape}", expected="a cube of even side", remedy="Pad or crop it first."
        )
    n = volume.shape[0]
    if xp is np:
        return fft3_padded(np.asarray(volume / gridding_correction(n, padding=padding), np.float32), padding * n)
    padded = xp.zeros((padding * n,) * 3, dtype=xp.float32)
    start = (padding * n) // 2 - n // 2
    inner = slice(start, start + n)
    padded[inner, inner, inner] = volume / xp.asarray(gridding_correction(n, padding=padding))
    return fft3_centred(padded)


def project_points(volume_ft: Array, rotations: Array, points: Array, *, padding: int = 2) -> Array:
    """Central slices at chosen in-plane frequencies only.

    Parameters
    ----------
    volume_ft
        `(N, N, N//2 + 1)` complex64 from :func:`prepare_volume`.
    rotations
        `(m, 3, 3)`; rotates column vectors (x, y, z) of the map into the projection frame.
    points
        `(p, 2)` (kx, ky) [cycles per unpadded box], ``|k| < n/2``.
    padding
        The ratio given to :func:`prepare_volume`.

    Returns
    -------
    `(m, p)` complex64.

    References
    ----------
    Projection-slice theorem: Bracewell, Aust. J. Phys. 9, 198 (1956).
    """
    xp = namespace(volume_ft, rotations)
    interpolate.check_half_volume(volume_ft)
    fast = native(xp, "projection")
    if fast is not None:
        sliced: Array = fast.project_points(xp, volume_ft, rotations, points, padding=padding)
        return sliced
    return generic_project_points(xp, volume_ft, rotations, points, padding=padding)


def generic_project_points(xp: ModuleType, volume_ft: Array, rotations: Array, points: Array, *, padding: int) -> Array:
    """Reference of :func:`project_points`, in terms of any array namespace."""
    coordinates = interpolate.slice_coordinates(xp, rotations, points, padding=padding)
    return interpolate.read(xp, volume_ft, coordinates)


def project(
    volume_ft: Array,
    rotations: Array,
    *,
    padding: int = 2,
    interpolation: str = "linear",
    r_max: float | None = None,
) -> Array:
    """Central slices of a Fourier volume: transforms of its projections.

    Parameters
    ----------
    volume_ft
        `(N, N, N//2 + 1)` complex64, zero frequency at [N//2, N//2, 0]; padded and corrected by :func:`prepare_volume`.
    rotations
        `(m, 3, 3)`; rotates column vectors (x, y, z) of the map into the projection frame.
    padding
        The ratio given to :func:`prepare_volume`.
    interpolation
        Only ``"linear"``.
    r_max
        Frequencies beyond it are left zero; always those at and beyond Nyquist. [cycles per box]

    Returns
    -------
    `(m, n, n//2 + 1)` complex64 with ``n = N / padding``, zero frequency at [n//2, 0].

    Raises
    ------
    InvalidInput
        Unknown interpolation or a volume of the wrong shape.

    References
    ----------
    Projection-slice theorem: Bracewell, Aust. J. Phys. 9, 198 (1956).
    """
    if interpolation != "linear":
        raise InvalidInput(f"interpolation {interpolation!r}", expected="'linear'", remedy="Leave it at its default.")
    xp = namespace(volume_ft, rotations)
    n = interpolate.check_half_volume(volume_ft) // padding
    points, index = slice_index(n, r_max)
    slices = xp.zeros((rotations.shape[0], n * (n // 2 + 1)), dtype=volume_ft.dtype)
    slices[:, xp.asarray(index)] = project_points(volume_ft, rotations, points, padding=padding)
    whole: Array = slices.reshape(-1, n, n // 2 + 1)
    return whole


def slice_index(n: int, r_max: float | None = None) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the (kx, ky) below Nyquist of a half slice, both mates at kx = 0, and their flat positions in it."""
    points = half_points_with_mates(n, r_max)
    return points, (points[:, 1].astype(np.int64) + n // 2) * (n // 2 + 1) + points[:, 0]


def half_points_with_mates(n: int, r_max: float | None) -> npt.NDArray[np.int32]:
    """Return `interpolate.half_points` with the redundant kx = 0, ky < 0 added."""
    points = interpolate.half_points(n, r_max=r_max)
    mates = points[(points[:, 0] == 0) & (points[:, 1] > 0)] * np.array([1, -1], dtype=np.int32)
    both = np.concatenate([points, mates])
    return both[np.lexsort((both[:, 0], both[:, 1]))]
