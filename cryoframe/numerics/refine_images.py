"""Images of one half-set as a refinement reads them: block by block from memory or a file; nothing is scored here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.fourier import fft2_centred, fourier_crop
from cryoframe.numerics.interpolate import at_points
from cryoframe.numerics.mapped import give_back
from cryoframe.numerics.masks import circular_mask
from cryoframe.numerics.polar_images import Optics, PolarImages
from cryoframe.numerics.pose_posterior import masked_transforms

Array = npt.NDArray[Any]
# Pixels of a block; its size depends on the box alone, so that products have one shape on every machine.
_BLOCK_VALUES = 2**20


@dataclass(frozen=True)
class ImageSet:
    """Some of the images of a stack with what is known of them beforehand.

    Attributes
    ----------
    source
        `(N, n, n)` float32, as a rule memory-mapped: never read but a block at a time.
    rows
        `(m,)` which of them belong to the set, in the set's order.
    optics
        CTF parameters of the m images.
    groups
        `(m,)` number of the noise spectrum of each image.
    pixel_size_A
        Of the images.
    radius_px, edge_px
        Of the soft circular mask.
    """

    source: Array
    rows: Array
    optics: Optics
    groups: Array
    pixel_size_A: float
    radius_px: float
    edge_px: float

    def __len__(self) -> int:
        """Images in the set."""
        return len(self.rows)

    @property
    def box_px(self) -> int:
        """Side of the images."""
        return int(self.source.shape[-1])

    @property
    def n_groups(self) -> int:
        """Noise spectra."""
        return int(self.groups.max()) + 1

    @cached_property
    def mask(self) -> npt.NDArray[np.float32]:
        """The mask `(n, n)`."""
        return circular_mask(self.box_px, self.radius_px - 0.5 * self.edge_px, edge_px=self.edge_px)

    @property
    def mask_frac(self) -> float:
        """Share of an image that its mask leaves: independent samples per transform value."""
        return float((self.mask.astype(np.float64) ** 2).mean())

    def pick(self, index: Array) -> ImageSet:
        """Return a set of some of the images."""
        optics = Optics(self.optics.columns[index], self.optics.group[index], self.optics.settings)
        return ImageSet(
            self.source, self.rows[index], optics, self.groups[index], self.pixel_size_A, self.radius_px, self.edge_px
        )

    def blocks(self) -> Iterator[slice]:
        """Images to handle at a time."""
        step = int(np.clip(_BLOCK_VALUES // self.box_px**2, 16, 256))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def read(self, part: slice) -> npt.NDArray[np.float32]:
        """Images `(b, n, n)`; what a file was read for is given back to the system at once."""
        images = np.array(self.source[self.rows[part]], dtype=np.float32)
        give_back(self.source)
        return images

    def transforms(self, part: slice, shifts_px: Array, *, masked: bool = True) -> Array:
        """Centred half transforms `(b, n, n//2 + 1)` of images masked where `shifts_px` `(b, 2)` say they are."""
        images = self.read(part)
        if not masked:
            return np.asarray(fft2_centred(images), dtype=np.complex64)
        return masked_transforms(images, shifts_px, self.mask)

    def values(self, part: slice, points: Array, shifts_px: Array, *, masked: bool = True) -> Array:
        """Transforms `(b, p)` at whole frequencies `(p, 2)`."""
        return np.ascontiguousarray(at_points(self.transforms(part, shifts_px, masked=masked), points))

    def ctfs(self, part: slice, points: Array) -> npt.NDArray[np.float32]:
        """CTFs `(b, p)` at frequencies `(p, 2)` [cycles per box]."""
        return self._polar(np.empty((0, 2, 2), np.float32), part).ctfs_at(slice(None), np.asarray(points, np.float64))

    def cropped(self, part: slice, side: int) -> PolarImages:
        """Return images of `side` pixels over the same length, ready for polar sampling."""
        images = self.read(part)
        if side != self.box_px:
            images = np.asarray(fourier_crop(images, (side, side), origin="centre"), dtype=np.float32)
        return self._polar(images, part)

    def _polar(self, images: Array, part: slice) -> PolarImages:
        optics = Optics(self.optics.columns[part], self.optics.group[part], self.optics.settings)
        return PolarImages(images, self.box_px, self.pixel_size_A, optics, self.radius_px, self.edge_px)
