"""Integer shells of images, volumes and their transforms: index, sum, average and the way back; no FSC lives here.

*Full* arrays have their origin at ``n//2`` on every axis; *half* arrays are in the centred half layout of
:mod:`cryoframe.numerics.fourier`. Shell s holds the samples whose radius, in samples, rounds to s.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Ints, Reals, namespace
from cryoframe.numerics.fourier import hermitian_weights


def shell_index(n: int, *, n_dims: int = 2, half: bool = True, xp: ModuleType = np) -> Ints:
    """Integer shell of every sample.

    Parameters
    ----------
    n
        Box size of the real array.
    n_dims
        1, 2 or 3.
    half
        Centred half layout `(n, …, n//2+1)`; otherwise full `(n, …, n)` with the origin at ``n//2``.

    Returns
    -------
    int32 array; corners beyond ``n//2`` keep their own shell numbers. Radii half-way round up.
    """
    axis = xp.arange(n, dtype=xp.float64) - n // 2
    last = xp.arange(n // 2 + 1, dtype=xp.float64) if half else axis
    axes = [axis] * (n_dims - 1) + [last]
    squared = xp.zeros((1,) * n_dims)
    for position, values in enumerate(axes):
        squared = squared + (values**2).reshape([-1 if p == position else 1 for p in range(n_dims)])
    index: Ints = xp.floor(xp.sqrt(squared) + 0.5).astype(xp.int32)
    return index


def _box_size(shape: tuple[int, ...], half: bool) -> int:
    n = shape[-2] if half and len(shape) > 1 else shape[-1]
    expected = (*(n,) * (len(shape) - 1), n // 2 + 1 if half else n)
    if len(shape) < 2 or shape != expected:
        raise InvalidInput(
            f"an array of shape {shape} has no shells",
            expected="a square or cubic "
            + ("centred half transform, (n, n//2+1) or (n, n, n//2+1)" if half else "box"),
            remedy="Crop or pad it to a square box first.",
        )
    return n


def sample_weights(n: int, *, n_dims: int, half: bool, xp: ModuleType = np) -> Floats:
    """How many samples of the full transform each sample of the layout stands for, broadcastable to it."""
    if not half:
        ones: Floats = xp.ones((1,) * n_dims, dtype=xp.float32)
        return ones
    return hermitian_weights(n, xp=xp).reshape((1,) * (n_dims - 1) + (-1,))


def radial_sum(array: Floats, *, half: bool = True, n_shells: int | None = None, weighted: bool = True) -> Reals:
    """Sum of `array` over each shell.

    Parameters
    ----------
    array
        Real `(n, n//2+1)`, `(n, n, n//2+1)` (half) or `(n, n)`, `(n, n, n)` (full).
    half
        Layout, see :func:`shell_index`.
    n_shells
        Length of the result, ``n//2+1`` unless given; samples further out are left out.
    weighted
        Count the samples the half layout leaves out.

    Returns
    -------
    `(n_shells,)` float64.
    """
    xp = namespace(array)
    n = _box_size(array.shape, half)
    length = n // 2 + 1 if n_shells is None else n_shells
    index = shell_index(n, n_dims=array.ndim, half=half, xp=xp).ravel()
    weights = sample_weights(n, n_dims=array.ndim, half=half and weighted, xp=xp)
    values = (array * weights).ravel()
    summed: Reals = xp.bincount(xp.minimum(index, length), weights=values, minlength=length + 1)[:length]
    return summed


def shell_counts(n: int, *, n_dims: int, half: bool = True, n_shells: int | None = None, xp: ModuleType = np) -> Reals:
    """Number of samples of the full transform (or full box) in each shell, `(n_shells,)` float64."""
    shape = (*(n,) * (n_dims - 1), n // 2 + 1 if half else n)
    return radial_sum(xp.ones(shape, dtype=xp.float32), half=half, n_shells=n_shells)


def radial_average(array: Floats, *, half: bool = True, n_shells: int | None = None) -> Reals:
    """Mean of `array` over each shell, `(n_shells,)` float64; arguments as in :func:`radial_sum`.

    An empty shell, which only a box of one or two samples or `n_shells` beyond the corner has, gives 0.
    """
    xp = namespace(array)
    n = _box_size(array.shape, half)
    total = radial_sum(array, half=half, n_shells=n_shells)
    count = shell_counts(n, n_dims=array.ndim, half=half, n_shells=n_shells, xp=xp)
    average: Reals = total / xp.maximum(count, 1.0)
    return average


def expand_radial(profile: Floats, n: int, *, n_dims: int = 2, half: bool = True, interpolate: bool = False) -> Floats:
    """Array whose samples have the value of `profile` at their shell; the last value is kept beyond its end.

    Parameters
    ----------
    profile
        `(n_shells,)`.
    n, n_dims, half
        Box size, dimensions and layout of the result.
    interpolate
        Linear between shells instead of the nearest one.
    """
    xp = namespace(profile)
    if not interpolate:
        index = shell_index(n, n_dims=n_dims, half=half, xp=xp)
        expanded: Floats = profile[xp.minimum(index, profile.shape[0] - 1)]
        return expanded
    axis = xp.arange(n, dtype=xp.float64) - n // 2
    last = xp.arange(n // 2 + 1, dtype=xp.float64) if half else axis
    grids = xp.meshgrid(*([axis] * (n_dims - 1)), last, indexing="ij", sparse=True)
    radius = xp.sqrt(sum(grid * grid for grid in grids))
    smooth: Floats = xp.interp(radius, xp.arange(profile.shape[0]), profile).astype(profile.dtype)
    return smooth
