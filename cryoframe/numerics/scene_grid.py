"""The grid a scene is computed on: larger than the frames, so that what leaves at one edge enters at none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cryoframe.numerics.backend import C64, F32, Bools, Floats, Reals
from cryoframe.numerics.fourier import good_size
from cryoframe.numerics.grids import frequency_axes_1_A

#: Entries of a table over the length of the frequency; 8192 make the error of a rounded index less than 10⁻³ of what
#: the steepest of the curves kept so (fading, memory of the ice, spread of the camera) changes over a tenth of Nyquist.
N_RADIAL = 8192


#: Smooth maps are computed at every so many pixels and linear in between: ice changes over thousands.
_LATTICE_PX = 16


def lattice_px(n: int) -> Reals:
    """Even places from the first to the last of `n` pixels, 16 or less apart."""
    places: Reals = np.linspace(0.0, n - 1.0, (n - 1) // _LATTICE_PX + 2)
    return places


def on_pixels(coarse: Floats, shape: tuple[int, int]) -> F32:
    """Values at the places of :func:`lattice_px` of both axes brought to every pixel, linear in between, float32."""
    down, across = (_hats(n_nodes, n) for n_nodes, n in zip(coarse.shape, shape, strict=True))
    return (down @ coarse.astype(np.float32)) @ across.T


def _hats(n_nodes: int, n: int) -> F32:
    """Weights `(n, n_nodes)` of nodes at pixels."""
    place = np.arange(n) * ((n_nodes - 1) / max(n - 1, 1))
    left = np.minimum(place.astype(np.int64), n_nodes - 2)
    weights: F32 = np.zeros((n, n_nodes), dtype=np.float32)
    weights[np.arange(n), left] = 1.0 - (place - left)
    weights[np.arange(n), left + 1] = place - left
    return weights


@dataclass(frozen=True)
class SceneGrid:
    """Pixels and frequencies of a scene.

    Parameters
    ----------
    shape
        `(ny, nx)` of the frames, which are the first rows and columns of the grid.
    pixel_size_A
        Of both.
    margin_px
        Least number of rows and columns beyond the frames.
    """

    shape: tuple[int, int]
    pixel_size_A: float
    margin_px: int = 64

    @cached_property
    def whole(self) -> tuple[int, int]:
        """`(ny, nx)` of the grid."""
        return good_size(self.shape[0] + self.margin_px), good_size(self.shape[1] + self.margin_px)

    @cached_property
    def kx(self) -> F32:
        """`(nx//2+1,)` [1/Å]."""
        return frequency_axes_1_A(self.whole, self.pixel_size_A, centred_half=False)[0].ravel().astype(np.float32)

    @cached_property
    def ky(self) -> F32:
        """`(ny,)` [1/Å], raw layout."""
        return frequency_axes_1_A(self.whole, self.pixel_size_A, centred_half=False)[1].ravel().astype(np.float32)

    @property
    def n_pixels(self) -> int:
        """Of the grid."""
        return self.whole[0] * self.whole[1]

    @property
    def half(self) -> tuple[int, int]:
        """Shape of half transforms."""
        return self.whole[0], self.whole[1] // 2 + 1

    @cached_property
    def radial_1_A(self) -> Reals:
        """`(N_RADIAL,)` frequencies of tables, up to the corner of the grid."""
        corner: Reals = np.linspace(0.0, np.sqrt(0.5) / self.pixel_size_A * 1.001, N_RADIAL)
        return corner

    @property
    def scale_A(self) -> float:
        """Frequency to index of a table."""
        return (N_RADIAL - 1) / float(self.radial_1_A[-1])

    def empty(self) -> F32:
        """Zeros of the grid."""
        return np.zeros(self.whole, dtype=np.float32)

    def ramps(self, shift_A: Floats) -> tuple[C64, C64]:
        """Factors along x and y that move content by (x, y) [Å]."""
        ramp_x = np.exp(-2j * np.pi * float(shift_A[0]) * self.kx.astype(np.float64))
        ramp_y = np.exp(-2j * np.pi * float(shift_A[1]) * self.ky.astype(np.float64))
        return ramp_x.astype(np.complex64), ramp_y.astype(np.complex64)

    def crop(self, image: F32) -> F32:
        """Part of the grid that is the frame; a view."""
        return image[: self.shape[0], : self.shape[1]]

    def mirrored(self, image: F32) -> F32:
        """Image of the frame laid on the grid and mirrored at its edges on either half of the margin: no step there."""
        spans = [(whole - n, n) for whole, n in zip(self.whole, image.shape, strict=True)]
        pads = [(spare // 2, spare - spare // 2) for spare, _ in spans]
        laid = np.pad(image, pads, mode="symmetric")
        shifted: F32 = np.roll(laid, [-before for before, _ in pads], axis=(0, 1)).astype(np.float32, copy=False)
        return shifted

    def wide(self, image: F32, fill: float = 0.0) -> F32:
        """Image of the frame laid on the grid, `fill` beyond."""
        laid: F32 = np.full(self.whole, fill, dtype=np.float32)
        laid[: self.shape[0], : self.shape[1]] = image
        return laid

    def even_columns(self) -> Bools:
        """Columns of a half transform that stand for themselves alone: zero and, for an even width, Nyquist."""
        alone = np.zeros(self.half[1], dtype=np.bool_)
        alone[0] = True
        alone[-1] = self.whole[1] % 2 == 0
        return alone
