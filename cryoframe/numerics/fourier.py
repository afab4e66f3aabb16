"""Fourier transforms, shifts, crops and pads of real arrays: the only room that calls an FFT; no filters live here.

Layouts. *Raw half*: what an rfft returns. *Centred half*: the real-space origin ``n//2`` is moved to index 0, rfft on
the last axis, all other axes fftshifted, so that zero frequency is at ``[n//2, 0]`` or ``[n//2, n//2, 0]``. Forward
transforms are not scaled, inverse ones are divided by the number of voxels. float32 gives complex64 and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType, ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.fft

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import C64, F32, Complexes, Floats, namespace

Origin = Literal["corner", "centre"]
_ROWS_AT_ONCE = 64


def rfftn(array: Floats, *, n_dims: int, n_threads: int = 1) -> Complexes:
    """Raw half transform over the last `n_dims` axes of `(…, ny, nx)`."""
    xp = namespace(array)
    axes = tuple(range(-n_dims, 0))
    result: Complexes = (
        scipy.fft.rfftn(array, axes=axes, workers=n_threads) if xp is np else xp.fft.rfftn(array, axes=axes)
    )
    return result


def irfftn(ft: Complexes, shape: Sequence[int], *, n_threads: int = 1) -> Floats:
    """Inverse of :func:`rfftn` over the last ``len(shape)`` axes, to real arrays `(…, *shape)`."""
    xp = namespace(ft)
    axes = tuple(range(-len(shape), 0))
    size = tuple(shape)
    result: Floats = (
        scipy.fft.irfftn(ft, s=size, axes=axes, workers=n_threads) if xp is np else xp.fft.irfftn(ft, s=size, axes=axes)
    )
    return result


def fft_along(values: Complexes, axis: int, *, inverse: bool = False, n_threads: int = 1) -> Complexes:
    """Transform along one axis of a complex host array, which may be used up."""
    transform = scipy.fft.ifft if inverse else scipy.fft.fft
    result: Complexes = transform(values, axis=axis, overwrite_x=True, workers=n_threads)
    return result


def rfft2(images: Floats, *, n_threads: int = 1) -> Complexes:
    """Raw half transform `(…, ny, nx//2+1)` of `(…, ny, nx)` images."""
    return rfftn(images, n_dims=2, n_threads=n_threads)


def irfft2(ft: Complexes, shape: Sequence[int], *, n_threads: int = 1) -> Floats:
    """Real images `(…, ny, nx)` of raw half transforms `(…, ny, nx//2+1)`; `shape` is ``(ny, nx)``."""
    return irfftn(ft, shape, n_threads=n_threads)


def add_irfft2(image: F32, ft: C64, *, weight: Callable[[slice], F32] | None = None) -> None:
    """Add the inverse of :func:`rfft2` to `image`, which allocates nothing of its size; host arrays only.

    Parameters
    ----------
    image
        `(ny, nx)` that the result is added to.
    ft
        `(ny, nx//2+1)`; used up.
    weight
        Gives the factor `(m, nx)` on some rows of the result; rows where it is 0 cost little.
    """
    half = scipy.fft.ifft(ft, axis=0, overwrite_x=True)
    for first in range(0, len(image), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        factor = None if weight is None else weight(rows)
        if factor is not None and not factor.any():
            continue
        lines = scipy.fft.irfft(half[rows], n=image.shape[1], axis=1)
        if factor is not None:
            lines *= factor
        image[rows] += lines


def _forward_centred(array: Floats, n_dims: int, n_threads: int) -> Complexes:
    xp = namespace(array)
    if array.ndim < n_dims:
        raise InvalidInput(f"an array of shape {array.shape} was given", expected=f"at least {n_dims} axes")
    axes = tuple(range(-n_dims, 0))
    raw = rfftn(xp.fft.ifftshift(array, axes=axes), n_dims=n_dims, n_threads=n_threads)
    centred: Complexes = xp.fft.fftshift(raw, axes=axes[:-1])
    return centred


def _backward_centred(ft: Complexes, shape: tuple[int, ...], n_threads: int) -> Floats:
    xp = namespace(ft)
    axes = tuple(range(-len(shape), 0))
    raw = xp.fft.ifftshift(ft, axes=axes[:-1])
    array: Floats = xp.fft.fftshift(irfftn(raw, shape, n_threads=n_threads), axes=axes)
    return array


def _full_shape(ft: Complexes, n_dims: int, n: int | None, shape: Sequence[int] | None) -> tuple[int, ...]:
    wanted = tuple(shape) if shape is not None else ((n if n is not None else ft.shape[-2]),) * n_dims
    if (*wanted[:-1], wanted[-1] // 2 + 1) != ft.shape[-n_dims:]:
        raise InvalidInput(
            f"a centred half transform of shape {ft.shape} does not belong to real arrays of shape {wanted}",
            expected="(…, n, n//2+1) in 2-D or (…, n, n, n//2+1) in 3-D",
            remedy="Give shape= where the box is not square.",
        )
    return wanted


def fft2_centred(images: Floats, *, n_threads: int = 1) -> Complexes:
    """Centred half transforms of images.

    Parameters
    ----------
    images
        `(…, n, n)` real, origin at ``[n//2, n//2]``; non-square images are transformed likewise.
    n_threads
        Worker threads of the host FFT.

    Returns
    -------
    `(…, n, n//2+1)` complex64 (complex128 for float64), zero frequency at ``[n//2, 0]``.
    """
    return _forward_centred(images, 2, n_threads)


def ifft2_centred(
    ft: Complexes, *, n: int | None = None, shape: Sequence[int] | None = None, n_threads: int = 1
) -> Floats:
    """Images `(…, n, n)` of centred half transforms `(…, n, n//2+1)`; give `shape` ``(ny, nx)`` where not square."""
    return _backward_centred(ft, _full_shape(ft, 2, n, shape), n_threads)


def fft3_centred(volume: Floats, *, n_threads: int = 1) -> Complexes:
    """Centred half transform `(n, n, n//2+1)` of a volume `(n, n, n)`, zero frequency at ``[n//2, n//2, 0]``."""
    return _forward_centred(volume, 3, n_threads)


def ifft3_centred(
    ft: Complexes, *, n: int | None = None, shape: Sequence[int] | None = None, n_threads: int = 1
) -> Floats:
    """Volume `(n, n, n)` of a centred half transform `(n, n, n//2+1)`."""
    return _backward_centred(ft, _full_shape(ft, 3, n, shape), n_threads)


def hermitian_weights(n: int, *, xp: ModuleType = np) -> F32:
    """How often each column of a half transform occurs in the full one.

    Returns
    -------
    `(n//2+1,)` float32: 1 for the zero column and, where `n` is even, the Nyquist column; 2 for all others. Multiplying
    a half-layout quantity by it makes sums equal to those over the full transform (Parseval).
    """
    weights: F32 = xp.full(n // 2 + 1, 2.0, dtype=xp.float32)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0
    return weights


def phase_ramp(n: int, shifts_px: npt.ArrayLike) -> C64:
    """Factors that move the content of images by `shifts_px`, in the centred half layout.

    Parameters
    ----------
    n
        Box size [px].
    shifts_px
        `(m, 2)` or `(2,)`: (dx, dy); content moves by +dx along the fast axis and by +dy along rows.

    Returns
    -------
    `(m, n, n//2+1)` or `(n, n//2+1)` complex64: exp(−2πi (kx·dx + ky·dy)/n).

    References
    ----------
    Shift theorem: Bracewell, The Fourier Transform and Its Applications (1965), ch. 6.
    """
    xp = namespace(shifts_px)
    shifts = xp.asarray(shifts_px, dtype=xp.float64)
    if shifts.shape[-1:] != (2,):
        raise InvalidInput(f"shifts of shape {shifts.shape} were given", expected="(m, 2): (dx, dy) in pixels")
    kx = xp.arange(n // 2 + 1, dtype=xp.float64) / n
    ky = (xp.arange(n, dtype=xp.float64) - n // 2) / n
    # A product of two 1-D ramps: n + n/2 complex exponentials an image instead of n²/2.
    ramp_x = xp.exp(-2j * np.pi * shifts[..., 0:1] * kx).astype(xp.complex64)
    ramp_y = xp.exp(-2j * np.pi * shifts[..., 1:2] * ky).astype(xp.complex64)
    ramp: C64 = ramp_y[..., :, None] * ramp_x[..., None, :]
    return ramp


def shift_images(images: Floats, shifts_px: npt.ArrayLike, *, n_threads: int = 1) -> Floats:
    """Move the content of periodic images by sub-pixel shifts.

    Parameters
    ----------
    images
        `(…, ny, nx)` real.
    shifts_px
        `(…, 2)` or `(2,)`: (dx, dy); content moves by +dx along the fast axis and by +dy along rows.

    Returns
    -------
    Images of the same shape and type. Whole pixels equal ``numpy.roll``.
    """
    xp = namespace(images)
    ny, nx = images.shape[-2:]
    shifts = xp.asarray(shifts_px, dtype=xp.float64)
    ft = rfft2(images, n_threads=n_threads)
    ramp_x = xp.exp(-2j * np.pi * shifts[..., 0:1] * xp.fft.rfftfreq(nx)).astype(ft.dtype)
    ramp_y = xp.exp(-2j * np.pi * shifts[..., 1:2] * xp.fft.fftfreq(ny)).astype(ft.dtype)
    return irfft2(ft * ramp_y[..., :, None] * ramp_x[..., None, :], (ny, nx), n_threads=n_threads)


def good_size(n: int, *, even: bool = True) -> int:
    """Smallest size ≥ `n` (even unless told otherwise) with prime factors 2, 3, 5 only, fast for every FFT library."""
    size = max(int(n), 1)
    while (even and size % 2) or not _is_smooth(size):
        size += 1
    return size


def _is_smooth(size: int) -> bool:
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    return size == 1


def _crop_axis(ft: Complexes, axis: int, m: int) -> Complexes:
    """Crop a full (not half) raw axis of length n to m; the two samples that fall on an even Nyquist are summed."""
    xp = namespace(ft)
    n = ft.shape[axis]
    moved = xp.moveaxis(ft, axis, -1)
    n_low = (m + 1) // 2
    low = moved[..., :n_low]
    high = moved[..., n - (m - n_low) :]
    if m % 2 == 0 and m < n:
        high = high.copy()
        high[..., 0] += moved[..., m // 2]
    cropped: Complexes = xp.moveaxis(xp.concatenate([low, high], axis=-1), -1, axis)
    return cropped


def _pad_axis(ft: Complexes, axis: int, m: int) -> Complexes:
    """Pad a full raw axis of length n to m with zeros; an even Nyquist sample is shared between +n/2 and −n/2."""
    xp = namespace(ft)
    n = ft.shape[axis]
    moved = xp.moveaxis(ft, axis, -1)
    padded = xp.zeros((*moved.shape[:-1], m), dtype=ft.dtype)
    n_low = (n + 1) // 2
    padded[..., :n_low] = moved[..., :n_low]
    padded[..., m - (n - n_low) :] = moved[..., n_low:]
    if n % 2 == 0 and m > n:
        padded[..., m - n // 2] = 0.5 * moved[..., n // 2]
        padded[..., n // 2] = 0.5 * moved[..., n // 2]
    result: Complexes = xp.moveaxis(padded, -1, axis)
    return result


def _fold_nyquist(half: Complexes, n_dims: int) -> Complexes:
    """Sum samples +m/2 and −m/2 of the last axis: F(−k) = conj F(k), with all full axes reversed."""
    xp = namespace(half)
    column = half[..., -1]
    mirrored = column
    for axis in range(-(n_dims - 1), 0):
        mirrored = xp.roll(xp.flip(mirrored, axis=axis), 1, axis=axis)
    folded = half.copy()
    folded[..., -1] = column + xp.conj(mirrored)
    return folded


def _resize(array: Floats, shape: Sequence[int], origin: Origin, n_threads: int) -> Floats:
    xp = namespace(array)
    n_dims = len(shape)
    axes = tuple(range(-n_dims, 0))
    before = array.shape[-n_dims:]
    source = xp.fft.ifftshift(array, axes=axes) if origin == "centre" else array
    ft = rfftn(source, n_dims=n_dims, n_threads=n_threads)
    for axis, m in zip(axes[:-1], shape[:-1], strict=True):
        n = ft.shape[axis]
        ft = _crop_axis(ft, axis, m) if m < n else _pad_axis(ft, axis, m) if m > n else ft
    n, m = before[-1], shape[-1]
    if m < n:
        ft = ft[..., : m // 2 + 1]
        ft = _fold_nyquist(ft, n_dims) if m % 2 == 0 else ft
    elif m > n:
        wide = xp.zeros((*ft.shape[:-1], m // 2 + 1), dtype=ft.dtype)
        wide[..., : ft.shape[-1]] = ft
        if n % 2 == 0:
            wide[..., n // 2] *= 0.5
        ft = wide
    resized = irfftn(ft, shape, n_threads=n_threads)
    # In place and as a Python float, so that float32 stays float32.
    resized *= float(np.prod(shape, dtype=np.float64) / np.prod(before, dtype=np.float64))
    if origin == "centre":
        resized = xp.fft.fftshift(resized, axes=axes)
    return resized


def _check_shape(array: Floats, shape: Sequence[int], *, smaller: bool) -> None:
    before = array.shape[-len(shape) :] if array.ndim >= len(shape) else ()
    fits = len(before) == len(shape) and all(
        m > 0 and (m <= n if smaller else m >= n) for m, n in zip(shape, before, strict=True)
    )
    if not fits:
        raise InvalidInput(
            f"an array of shape {array.shape} cannot be {'cropped' if smaller else 'padded'} to {tuple(shape)}",
            expected=f"a shape no axis of which is {'longer' if smaller else 'shorter'} than the array's",
        )


def fourier_crop(array: Floats, shape: Sequence[int], *, origin: Origin = "corner", n_threads: int = 1) -> Floats:
    """Down-sample by cutting high frequencies, keeping mean and grey scale.

    Parameters
    ----------
    array
        `(…, ny, nx)` or `(…, nz, ny, nx)` real; the length of `shape` says over how many last axes.
    shape
        New lengths of these axes; each keeps its own field of view, so keep their ratio to keep pixels square.
    origin
        What stays in place: ``"corner"`` the centre of pixel 0 (micrographs), ``"centre"`` index ``n//2`` (boxes).
        Both agree for even sizes.

    Returns
    -------
    Real array with the new lengths. A cosine below the new Nyquist frequency is kept exactly.
    """
    _check_shape(array, shape, smaller=True)
    return _resize(array, shape, origin, n_threads)


def fourier_pad(array: Floats, shape: Sequence[int], *, origin: Origin = "corner", n_threads: int = 1) -> Floats:
    """Up-sample by adding zeros at high frequencies, keeping mean and grey scale; inverted by :func:`fourier_crop`."""
    _check_shape(array, shape, smaller=False)
    return _resize(array, shape, origin, n_threads)


def resize_centred_ft(ft: Complexes, n: int, *, n_dims: int) -> Complexes:
    """Crop or zero-pad centred half transforms to box size `n`, leaving samples as they are.

    Parameters
    ----------
    ft
        `(…, n0, n0//2+1)` for `n_dims` 2, `(…, n0, n0, n0//2+1)` for 3.
    n
        New box size. Multiply by ``(n/n0)**n_dims`` to keep the grey scale after an inverse transform.
    n_dims
        2 for images, 3 for volumes.
    """
    xp = namespace(ft)
    before = ft.shape[-2]
    resized: Complexes = xp.zeros((*ft.shape[:-n_dims], *(n,) * (n_dims - 1), n // 2 + 1), dtype=ft.dtype)
    low = min(before, n) // 2
    high = (min(before, n) + 1) // 2
    columns = slice(0, min(before, n) // 2 + 1)
    inside: tuple[EllipsisType | slice, ...] = (
        ...,
        *(slice(before // 2 - low, before // 2 + high),) * (n_dims - 1),
        columns,
    )
    outside: tuple[EllipsisType | slice, ...] = (..., *(slice(n // 2 - low, n // 2 + high),) * (n_dims - 1), columns)
    resized[outside] = ft[inside]
    return resized
