"""Transforms of images on polar frequencies, there and back, and their angular Fourier series; no scoring here.

A half circle of directions is stored, from -90 degrees on: the other half is its complex conjugate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import namespace, native
from cryoframe.numerics.fourier import fft2_centred, good_size, ifft2_centred

Array = npt.NDArray[Any]

#: Taps of the interpolation kernel along each axis.
TAPS = 4
_PADDING = 2
# Least aliasing for four taps at twofold padding: Beatty, Nishimura & Pauly (2005), doi:10.1109/TMI.2005.848376, eq. 5.
_SHAPE = np.pi * np.sqrt((TAPS / _PADDING) ** 2 * (_PADDING - 0.5) ** 2 - 0.8)


@dataclass(frozen=True)
class PolarGrid:
    """Polar frequencies of boxes of one length.

    Attributes
    ----------
    box_px
        Side of the images [px]; with `box_px` pixels, frequencies are in cycles per box.
    r_min, r_max
        First and last ring [cycles per box].
    n_theta
        Directions on the full circle, a multiple of 4; in-plane angles are multiples of 360/n_theta degrees.
    support_px
        Radius outside of which images hold nothing: it bounds the orders of the angular series.
    """

    box_px: int
    r_min: int
    r_max: int
    n_theta: int
    support_px: float

    @property
    def rings(self) -> npt.NDArray[np.int64]:
        """Radii `(r,)` [cycles per box]."""
        return np.arange(self.r_min, self.r_max + 1)

    @property
    def n_half(self) -> int:
        """Directions that are stored."""
        return self.n_theta // 2

    @property
    def n_orders(self) -> int:
        """Orders 0 … of the series that are used."""
        return min(int(self.last_orders[-1]), self.n_theta // 2 - 1) + 1

    @cached_property
    def last_orders(self) -> npt.NDArray[np.int64]:
        """Highest order `(r,)` of each ring that a support of this radius holds: Bessel functions end there."""
        argument = 2.0 * np.pi * self.rings * self.support_px / self.box_px
        return np.asarray(np.ceil(argument + np.cbrt(argument)) + 1, dtype=np.int64)

    @cached_property
    def points(self) -> npt.NDArray[np.float64]:
        """Frequencies `(r, n_theta/2, 2)` (kx, ky) [cycles per box], kx >= 0."""
        theta = 2.0 * np.pi * np.arange(self.n_half) / self.n_theta - 0.5 * np.pi
        unit = np.stack([np.abs(np.cos(theta)), np.sin(theta)], axis=-1)
        return np.asarray(self.rings[:, None, None] * unit[None], dtype=np.float64)

    @cached_property
    def areas(self) -> npt.NDArray[np.float32]:
        """Samples `(r,)` of the square lattice that one polar sample of each ring stands for."""
        return (2.0 * np.pi * self.rings / self.n_theta).astype(np.float32)

    @property
    def psi_deg(self) -> npt.NDArray[np.float64]:
        """In-plane angles `(n_theta,)` [degrees] that turn the grid into itself."""
        return np.asarray(np.arange(self.n_theta) * (360.0 / self.n_theta), dtype=np.float64)

    @cached_property
    def _taps(self) -> dict[int, tuple[Array, Array]]:
        return {}

    def taps(self, side: int) -> tuple[Array, Array]:
        """First index and weights, `(p, 2)` and `(p, 2, 4)`, on padded transforms of images of `side` pixels."""
        if side not in self._taps:
            position = self.points.reshape(-1, 2) * _PADDING
            first = np.floor(position).astype(np.int64) - (TAPS // 2 - 1)
            offset = position[:, :, None] - first[:, :, None] - np.arange(TAPS)
            inside = np.sqrt(np.maximum(1.0 - (2.0 * offset / TAPS) ** 2, 0.0))
            weights = np.where(np.abs(offset) <= TAPS / 2, np.i0(_SHAPE * inside), 0.0) / TAPS
            first[:, 1] += _PADDING * side // 2
            self._taps[side] = (first, weights.astype(np.float32))
        return self._taps[side]


def make_grid(box_px: int, *, r_max: float, support_px: float, r_min: int = 1) -> PolarGrid:
    """Grid whose directions carry the series of images of a support.

    Parameters
    ----------
    box_px
        Side of the images [px].
    r_max
        Highest frequency [cycles per box], below half the box.
    support_px
        Radius of the mask around the images.
    r_min
        Lowest frequency.

    Raises
    ------
    InvalidInput
        There is no ring between the two.

    References
    ----------
    Orders of a function of bounded support: Rangan, Spivak, Andén & Barnett, Inverse Problems 36, 024001 (2020),
    doi:10.1088/1361-6420/ab2aec, section 3.
    """
    last = min(int(np.floor(r_max)), (box_px - 1) // 2 - 1)
    if last < r_min:
        raise InvalidInput(
            f"no frequency between {r_min} and {r_max:g} cycles in a box of {box_px} px",
            expected="r_min <= r_max < box / 2 - 1",
            remedy="Use a finer resolution or a larger box.",
        )
    orders = PolarGrid(box_px, r_min, last, 4, support_px).last_orders[-1]
    n_theta = good_size(max(16, 2 * int(orders) + 2))
    while n_theta % 4:
        n_theta = good_size(n_theta + 2)
    return PolarGrid(box_px, r_min, last, n_theta, support_px)


def _fall_off(side: int) -> npt.NDArray[np.float32]:
    """Transform `(side, side)` of the interpolation kernel at the pixels of an image."""
    x = np.arange(side) - side // 2
    inside = np.sqrt((_SHAPE**2 - (np.pi * TAPS * x / (_PADDING * side)) ** 2).astype(np.complex128))
    profile = (np.sinh(inside) / inside).real
    return np.asarray(profile[:, None] * profile[None, :], dtype=np.float32)


def sample(images: Array, grid: PolarGrid) -> Array:
    """Transforms of images on a polar grid.

    Parameters
    ----------
    images
        `(m, s, s)` float32, origin at s//2. They may have fewer pixels than `grid.box_px` over the same length.
    grid
        Where to sample; ``grid.r_max < s/2``.

    Returns
    -------
    `(m, r, n_theta/2)` complex64.

    References
    ----------
    Kaiser-Bessel gridding: Beatty, Nishimura & Pauly, IEEE Trans. Med. Imaging 24, 799 (2005),
    doi:10.1109/TMI.2005.848376.
    """
    side = images.shape[-1]
    if images.ndim != 3 or images.shape[1] != side or side % 2 or grid.r_max > side / 2 - 1:
        raise InvalidInput(
            f"images of shape {images.shape} for frequencies up to {grid.r_max} cycles per box",
            expected="(m, s, s) with s even and s/2 - 1 of at least that",
        )
    whole, start = _PADDING * side, _PADDING * side // 2 - side // 2
    padded = np.zeros((len(images), whole, whole), dtype=np.float32)
    padded[:, start : start + side, start : start + side] = images / _fall_off(side)
    xp = namespace(images)
    fast = native(xp, "polar")
    read = generic_read if fast is None else fast.read
    values: Array = read(xp, fft2_centred(padded), *grid.taps(side))
    return values.reshape(len(images), len(grid.rings), grid.n_half)


def to_images(values: Array, grid: PolarGrid, side: int) -> npt.NDArray[np.float32]:
    """Images of transforms known on a polar grid: the inverse of :func:`sample` for images within the support.

    Parameters
    ----------
    values
        `(k, r, n_theta/2)` complex.
    grid
        Of the values.
    side
        Pixels of the images to make over the grid's box.

    Returns
    -------
    `(k, side, side)` float32 of no mean.

    References
    ----------
    Adjoint of :func:`sample`, weighted by the area of each sample; definition.
    """
    xp = namespace(values)
    weighted = (values * grid.areas[None, :, None]).reshape(len(values), -1).astype(np.complex64)
    fast = native(xp, "polar")
    spread = generic_spread if fast is None else fast.spread
    padded = spread(xp, weighted, *grid.taps(side), side=_PADDING * side)
    start = _PADDING * side // 2 - side // 2
    inner = slice(start, start + side)
    # Both mates of a pair lie in the sum that a real inverse transform makes; its norm is that of the padded side.
    return np.asarray(ifft2_centred(padded)[:, inner, inner] * _PADDING**2 / _fall_off(side), dtype=np.float32)


def generic_read(xp: ModuleType, transforms: Array, first: Array, weights: Array) -> Array:
    """Reference of the interpolation: `(m, N, N//2 + 1)` centred half transforms at `(p,)` places."""
    side = transforms.shape[-2]
    total = xp.zeros((len(transforms), len(first)), dtype=np.complex64)
    for a in range(TAPS):
        for b in range(TAPS):
            column, row = first[:, 0] + a, first[:, 1] + b
            beyond = column < 0
            row = xp.where(beyond, 2 * (side // 2) - row, row) % side
            value = transforms[:, row, xp.abs(column)]
            total += xp.where(beyond, value.conj(), value) * (weights[:, 0, a] * weights[:, 1, b])
    return np.asarray(total)


def generic_spread(xp: ModuleType, values: Array, first: Array, weights: Array, *, side: int) -> Array:
    """Reference of the adjoint: sums `(k, N, N//2 + 1)`, such that a real inverse transform counts each pair once."""
    out = xp.zeros((len(values), side, side // 2 + 1), dtype=np.complex64)
    line = xp.arange(len(values))[:, None]
    for a in range(TAPS):
        for b in range(TAPS):
            column, row = first[:, 0] + a, first[:, 1] + b
            part = values * (weights[:, 0, a] * weights[:, 1, b])
            beyond = column < 0
            mate = (2 * (side // 2) - row) % side
            xp.add.at(
                out,
                (line, xp.where(beyond, mate, row % side)[None], xp.abs(column)[None]),
                xp.where(beyond, part.conj(), part),
            )
            # On the line kx = 0 the mate is stored too.
            on_line = column == 0
            xp.add.at(out, (line, mate[on_line][None], xp.zeros(on_line.sum(), int)[None]), part[:, on_line].conj())
    return np.asarray(out)


def full_circle(values: Array) -> Array:
    """Values on all directions, `(..., n_theta)`, of those `(..., n_theta/2)` of a real image."""
    return np.concatenate([values, values.conj()], axis=-1)


def shift_phases(grid: PolarGrid, shifts_px: Array) -> Array:
    """Factors `(t, r, n_theta/2)` complex64 that move content by `shifts_px` `(t, 2)` (dx, dy)."""
    angle = (-2.0 * np.pi / grid.box_px) * np.tensordot(np.asarray(shifts_px, np.float64), grid.points, (1, 2))
    return np.asarray(np.exp(1j * angle), dtype=np.complex64)
