"""Coordinates of samples: frequencies in every layout and radii in pixels; no function of them lives here."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Reals


def _check(shape: Sequence[int], pixel_size_A: float) -> None:
    if not shape or min(shape) < 1 or not pixel_size_A > 0:
        raise InvalidInput(f"shape {tuple(shape)} with pixels of {pixel_size_A} Å was given", expected="positive sizes")


def frequency_axes_1_A(
    shape: Sequence[int], pixel_size_A: float, *, centred_half: bool = True, xp: ModuleType = np
) -> tuple[Reals, ...]:
    """Frequencies along each axis, shaped to broadcast, fastest axis first: (kx, ky) or (kx, ky, kz).

    Parameters
    ----------
    shape
        Of the real array: `(ny, nx)` or `(nz, ny, nx)`; need not be square.
    pixel_size_A
        Sampling in real space.
    centred_half
        Centred half layout; otherwise the raw half layout an rfft returns (zero frequency at index 0).

    Returns
    -------
    float64 arrays [1/Å]; kx is `(1, nx//2+1)`, ky `(ny, 1)`, and so on.
    """
    _check(shape, pixel_size_A)
    n_dims = len(shape)
    axes: list[Reals] = []
    for position, n in enumerate(shape):
        if position == n_dims - 1:
            samples = xp.arange(n // 2 + 1, dtype=xp.float64)
        else:
            samples = xp.arange(n, dtype=xp.float64) - n // 2
            # An even raw axis starts its negative half at −n/2, the same sample the centred one begins with.
            samples = samples if centred_half else xp.fft.ifftshift(samples)
        axes.append((samples / (n * pixel_size_A)).reshape([-1 if p == position else 1 for p in range(n_dims)]))
    return tuple(reversed(axes))


def frequencies_1_A(
    shape: Sequence[int], pixel_size_A: float, centred_half: bool = True, *, xp: ModuleType = np
) -> Reals:
    """Length of the frequency vector of every sample [1/Å], `(…, nx//2+1)`; arguments as :func:`frequency_axes_1_A`."""
    axes = frequency_axes_1_A(shape, pixel_size_A, centred_half=centred_half, xp=xp)
    squared = axes[0] ** 2
    for axis in axes[1:]:
        squared = squared + axis**2
    radius: Reals = xp.sqrt(squared)
    return radius


def radius_px(shape: Sequence[int], *, centre_px: Sequence[float] | None = None, xp: ModuleType = np) -> Reals:
    """Distance of every pixel from the centre [px].

    Parameters
    ----------
    shape
        `(ny, nx)` or `(nz, ny, nx)`.
    centre_px
        In the order of the axes (y, x) or (z, y, x); index ``n//2`` of each where omitted.
    """
    _check(shape, 1.0)
    centre = [n // 2 for n in shape] if centre_px is None else list(centre_px)
    n_dims = len(shape)
    squared = xp.zeros((1,) * n_dims)
    for position, (n, origin) in enumerate(zip(shape, centre, strict=True)):
        offset = xp.arange(n, dtype=xp.float64) - origin
        squared = squared + (offset**2).reshape([-1 if p == position else 1 for p in range(n_dims)])
    radius: Reals = xp.sqrt(squared)
    return radius
