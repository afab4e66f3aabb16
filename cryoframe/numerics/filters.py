"""Transfer functions of frequency and their application: pass filters, B-factor, dose, whitening; the CTF is in ctf."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Floats, Reals, namespace
from cryoframe.numerics.fourier import irfftn, rfftn
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.windows import cosine_edge

# Grant & Grigorieff 2015: critical dose a·k^b + c [e/Å²] at 300 kV, and its factor at other voltages.
_CRITICAL_DOSE = (0.245, -1.665, 2.81)
_VOLTAGE_FACTOR = {300: 1.0, 200: 0.8}


def _check_resolution(resolution_A: float) -> float:
    if not resolution_A > 0:
        raise InvalidInput(f"a resolution of {resolution_A} Å was given", expected="more than 0 Å")
    return 1.0 / resolution_A


def low_pass(frequency_1_A: Floats, resolution_A: float, *, edge_1_A: float = 0.0) -> Floats:
    """Transfer that falls from 1 to 0 by a raised cosine of width `edge_1_A` with ½ at 1/`resolution_A`."""
    cutoff = _check_resolution(resolution_A)
    return cosine_edge(frequency_1_A, cutoff - 0.5 * edge_1_A, cutoff + 0.5 * edge_1_A)


def high_pass(frequency_1_A: Floats, resolution_A: float, *, edge_1_A: float = 0.0) -> Floats:
    """Transfer that rises from 0 to 1; the complement of :func:`low_pass`."""
    return 1.0 - low_pass(frequency_1_A, resolution_A, edge_1_A=edge_1_A)


def band_pass(frequency_1_A: Floats, low_A: float, high_A: float, *, edge_1_A: float = 0.0) -> Floats:
    """Transfer that keeps resolutions between `low_A` (coarse) and `high_A` (fine)."""
    if not low_A > high_A:
        raise InvalidInput(f"a band from {low_A} Å to {high_A} Å was asked for", expected="low_A > high_A")
    return high_pass(frequency_1_A, low_A, edge_1_A=edge_1_A) * low_pass(frequency_1_A, high_A, edge_1_A=edge_1_A)


def gaussian(frequency_1_A: Floats, sigma_1_A: float) -> Floats:
    """exp(−k²/(2σ²)); in real space a Gaussian of standard deviation 1/(2πσ) [Å]."""
    xp = namespace(frequency_1_A)
    transfer: Floats = xp.exp(-0.5 * (frequency_1_A / sigma_1_A) ** 2)
    return transfer


def b_factor(frequency_1_A: Floats, b_factor_A2: float) -> Floats:
    """exp(−B·k²/4): blurs for positive B, sharpens for negative B."""
    xp = namespace(frequency_1_A)
    transfer: Floats = xp.exp(-0.25 * b_factor_A2 * frequency_1_A**2)
    return transfer


def critical_dose_e_A2(frequency_1_A: Floats, voltage_kV: float) -> Floats:
    """Exposure after which the signal at a frequency has fallen to 1/e of its power [e/Å²]; infinite at k = 0.

    Parameters
    ----------
    frequency_1_A
        Any shape.
    voltage_kV
        300 or 200 (± 2), for which the paper gives the figures.

    References
    ----------
    Grant & Grigorieff, eLife 4, e06980 (2015), doi 10.7554/eLife.06980: N_e(k) = 0.245·k^−1.665 + 2.81 at 300 kV,
    0.8 of that at 200 kV.
    """
    xp = namespace(frequency_1_A)
    factor = next((f for kV, f in _VOLTAGE_FACTOR.items() if abs(voltage_kV - kV) <= 2.0), None)
    if factor is None:
        raise InvalidInput(
            f"no critical exposure is known for {voltage_kV} kV",
            expected="300 kV or 200 kV",
            remedy="Leave frames unweighted, or give your own weights.",
        )
    scale, power, floor = _CRITICAL_DOSE
    known = frequency_1_A > 0
    safe = xp.where(known, frequency_1_A, 1.0)
    dose: Floats = xp.where(known, factor * (scale * safe**power + floor), np.inf)
    return dose


def dose_transfer(frequency_1_A: Floats, dose_e_A2: float, voltage_kV: float) -> Floats:
    """Amplitude left after an exposure: exp(−N/(2·N_e(k))), 1 at zero frequency.

    References
    ----------
    Grant & Grigorieff, eLife 4, e06980 (2015), doi 10.7554/eLife.06980.
    """
    xp = namespace(frequency_1_A)
    left: Floats = xp.exp(-dose_e_A2 / (2.0 * critical_dose_e_A2(frequency_1_A, voltage_kV)))
    return left


def frame_weights(
    frequency_1_A: Floats, doses_e_A2: Sequence[float] | npt.NDArray[np.floating], voltage_kV: float
) -> Floats:
    """Weights of the frames of a movie in the sum of their transforms.

    Parameters
    ----------
    frequency_1_A
        `(…)`.
    doses_e_A2
        `(f,)` exposure accumulated up to the end of each frame, pre-exposure included.
    voltage_kV
        300 or 200.

    Returns
    -------
    `(f, …)`: amplitudes exp(−N/2N_e), divided by the root of their summed squares, so that white noise in the sum has
    the variance of one frame at all frequencies.

    References
    ----------
    Grant & Grigorieff, eLife 4, e06980 (2015), doi 10.7554/eLife.06980 (restored noise power).
    """
    xp = namespace(frequency_1_A)
    critical = critical_dose_e_A2(frequency_1_A, voltage_kV)
    doses = xp.asarray(doses_e_A2, dtype=xp.float64)
    # Relative to the first frame: far beyond the critical exposure all amplitudes would underflow to 0/0.
    doses = (doses - doses.min()).reshape((-1,) + (1,) * critical.ndim)
    amplitude = xp.exp(-doses / (2.0 * critical))
    weights: Floats = amplitude / xp.sqrt(xp.sum(amplitude**2, axis=0))
    return weights


def whitening(power: Floats) -> Floats:
    """Transfer 1/√P that turns noise of power spectrum P into white noise; 0 where P is 0."""
    xp = namespace(power)
    positive = power > 0
    transfer: Floats = xp.where(positive, 1.0 / xp.sqrt(xp.where(positive, power, 1.0)), 0.0)
    return transfer


def apply_transfer(array: Floats, transfer: Floats, *, n_dims: int, n_threads: int = 1) -> Floats:
    """Multiply the transform of `array` with a transfer function.

    Parameters
    ----------
    array
        `(…, ny, nx)` for `n_dims` 2, `(…, nz, ny, nx)` for 3.
    transfer
        `(…, nx//2+1)` in the raw half layout: ``frequencies_1_A(shape, pixel_size_A, False)`` gives its frequencies.
    """
    ft = rfftn(array, n_dims=n_dims, n_threads=n_threads)
    ft *= transfer
    filtered: Floats = irfftn(ft, array.shape[-n_dims:], n_threads=n_threads).astype(array.dtype, copy=False)
    return filtered


def _edge(shape: Sequence[int], pixel_size_A: float, edge_shells: float) -> float:
    return edge_shells / (min(shape) * pixel_size_A)


def filter_pass(
    array: Floats,
    *,
    pixel_size_A: float,
    n_dims: int,
    low_pass_A: float | None = None,
    high_pass_A: float | None = None,
    edge_shells: float = 2.0,
    n_threads: int = 1,
) -> Floats:
    """Low-, high- or band-pass filter images or volumes with raised-cosine edges.

    Parameters
    ----------
    array
        `(…, ny, nx)` for `n_dims` 2, `(…, nz, ny, nx)` for 3.
    low_pass_A
        Finest resolution kept; none where omitted.
    high_pass_A
        Coarsest resolution kept; the mean is removed with it.
    edge_shells
        Width of the edges in Fourier samples of the shortest axis.
    """
    shape = array.shape[-n_dims:]
    xp = namespace(array)
    frequency = frequencies_1_A(shape, pixel_size_A, False, xp=xp)
    edge_1_A = _edge(shape, pixel_size_A, edge_shells)
    transfer: Floats = xp.ones_like(frequency)
    if low_pass_A is not None:
        transfer = transfer * low_pass(frequency, low_pass_A, edge_1_A=edge_1_A)
    if high_pass_A is not None:
        transfer = transfer * high_pass(frequency, high_pass_A, edge_1_A=edge_1_A)
    return apply_transfer(array, transfer.astype(array.dtype), n_dims=n_dims, n_threads=n_threads)


def apply_b_factor(
    array: Floats, b_factor_A2: float, *, pixel_size_A: float, n_dims: int, n_threads: int = 1
) -> Floats:
    """Multiply the transform with exp(−B·k²/4); negative B sharpens."""
    xp = namespace(array)
    frequency: Reals = frequencies_1_A(array.shape[-n_dims:], pixel_size_A, False, xp=xp)
    transfer = b_factor(frequency, b_factor_A2).astype(array.dtype)
    return apply_transfer(array, transfer, n_dims=n_dims, n_threads=n_threads)
