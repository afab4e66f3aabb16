"""Transforms of volumes padded with zeros, there and back, that never hold the padded volume; no gridding here.

Axis by axis, lines that are zero are not transformed, and lines that are cropped away are let go at once: besides its
input and output a transform takes half of a padded plane's stack, and a few columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.backend import C64, F32
from cryoframe.numerics.fourier import fft_along, irfftn, rfftn

# Values of the padded transform that are handled at a time.
_BLOCK_VALUES = 2**22


def columns_at_once(side: int) -> Iterator[slice]:
    """Columns of a centred half transform `(side, side, side//2 + 1)` to handle at a time."""
    n_columns = side // 2 + 1
    step = max(1, _BLOCK_VALUES // side**2)
    for first in range(0, n_columns, step):
        yield slice(first, min(first + step, n_columns))


def middle_of_ifft3(columns: Callable[[slice], C64], side: int, n: int) -> F32:
    """Middle `(n, n, n)` of the volume of `side` voxels whose centred half transform is given column by column.

    Parameters
    ----------
    columns
        Gives columns `(side, side, c)` of the centred half transform; may be used up.
    side, n
        Of the padded volume and of its middle; both have their origin at side//2 and n//2.

    Returns
    -------
    `(n, n, n)` float32: the middle of ``ifft3_centred`` of the whole.

    References
    ----------
    The transform of three axes is that of one after the other; definition.
    """
    raw = _raw_places(side, n)
    lines = np.empty((n, n, side // 2 + 1), dtype=np.complex64)
    for part in columns_at_once(side):
        block = fft_along(np.fft.ifftshift(columns(part), axes=0), 0, inverse=True)[raw]
        lines[:, :, part] = fft_along(np.fft.ifftshift(block, axes=1), 1, inverse=True)[:, raw]
    volume = np.empty((n, n, n), dtype=np.float32)
    for slab in _slabs(n, side):
        volume[slab] = irfftn(lines[slab], (side,))[:, :, raw]
    return volume


def fft3_padded(volume: F32, side: int) -> C64:
    """Centred half transform `(side, side, side//2 + 1)` of a volume `(n, n, n)` in the middle of zeros.

    Parameters
    ----------
    volume
        Real, origin at n//2.
    side
        Of the padded volume.

    References
    ----------
    As :func:`middle_of_ifft3`.
    """
    n, raw = len(volume), _raw_places(side, len(volume))
    lines = np.empty((n, n, side // 2 + 1), dtype=np.complex64)
    for slab in _slabs(n, side):
        padded = np.zeros((slab.stop - slab.start, n, side), dtype=np.float32)
        padded[:, :, raw] = volume[slab]
        lines[slab] = rfftn(padded, n_dims=1)
    whole = np.empty((side, side, side // 2 + 1), dtype=np.complex64)
    for part in columns_at_once(side):
        block = np.zeros((side, n, part.stop - part.start), dtype=np.complex64)
        block[raw] = lines[:, :, part]
        block = np.fft.fftshift(fft_along(block, 0), axes=0)
        wide = np.zeros((side, side, part.stop - part.start), dtype=np.complex64)
        wide[:, raw] = block
        whole[:, :, part] = np.fft.fftshift(fft_along(wide, 1), axes=1)
    return whole


def _raw_places(side: int, n: int) -> npt.NDArray[np.int64]:
    """Where a transform that starts at the origin keeps the middle n of `side` samples."""
    return (np.arange(n) - n // 2) % side


def _slabs(n: int, side: int) -> Iterator[slice]:
    step = max(1, _BLOCK_VALUES // (n * side))
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))
