"""Reproducible noise: counter-based generators and noise of a given power spectrum; detectors are simulated elsewhere.

A generator is named by integers (seed, item, …), not by how many numbers were drawn before, so results do not depend
on the order of work nor on the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats
from cryoframe.numerics.fourier import irfftn, rfftn
from cryoframe.numerics.grids import frequencies_1_A


def generator(seed: int, *names: int) -> np.random.Generator:
    """Philox generator for the stream named by non-negative integers, independent of every other stream.

    References
    ----------
    Salmon et al., SC'11, doi 10.1145/2063384.2063405.
    """
    if seed < 0 or any(name < 0 for name in names):
        raise InvalidInput(f"stream {(seed, *names)} was asked for", expected="non-negative integers")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=names)))


def white_noise(shape: Sequence[int], rng: np.random.Generator) -> F32:
    """Normal deviates of mean 0 and variance 1, float32."""
    return rng.standard_normal(tuple(shape), dtype=np.float32)


def coloured_noise(
    shape: Sequence[int], power: Floats, rng: np.random.Generator, *, n_items: int | None = None, n_threads: int = 1
) -> F32:
    """Gaussian noise with a radial power spectrum.

    Parameters
    ----------
    shape
        `(ny, nx)` or `(nz, ny, nx)`.
    power
        `(s,)` at equally spaced frequencies from 0 to Nyquist, linear in between, the last value beyond. Scaled as
        |F|²/N, so that 1 everywhere is white noise of variance 1.
    rng
        Source of randomness.
    n_items
        Make a stack of so many.

    Returns
    -------
    `(*shape)` or `(n_items, *shape)` float32, periodic.
    """
    if power.ndim != 1 or power.size < 1 or np.any(power < 0):
        raise InvalidInput("the power spectrum has another shape or negative values", expected="(s,), non-negative")
    stack = tuple(shape) if n_items is None else (n_items, *shape)
    radius = 2.0 * frequencies_1_A(shape, 1.0, False)
    amplitude = np.sqrt(np.interp(radius, np.linspace(0.0, 1.0, power.size), power)).astype(np.float32)
    ft = rfftn(white_noise(stack, rng), n_dims=len(shape), n_threads=n_threads)
    ft *= amplitude
    noise: F32 = irfftn(ft, shape, n_threads=n_threads).astype(np.float32, copy=False)
    return noise
