"""Fourier shell and ring correlation and all that is read from it; every FSC definition lives here and only here."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Complexes, Floats, Reals, namespace, to_host
from cryoframe.numerics.fourier import fft2_centred, fft3_centred, ifft3_centred
from cryoframe.numerics.radial import radial_sum, shell_counts, shell_index

How = Literal["crossing", "never below", "always below"]

# Shells in which a mask makes noise correlate to 1 but for this tell nothing.
_BLIND = 1e-3


class FscCurve(NamedTuple):
    """A correlation curve: `(s,)` each. `n_voxels` counts samples of the full transform, Hermitian pairs as two."""

    frequency_1_A: Reals
    fsc: Reals
    n_voxels: Reals


class Resolution(NamedTuple):
    """A resolution [Å] and how it was read from the curve."""

    resolution_A: float
    how: How


class Guinier(NamedTuple):
    """Straight line through a Guinier plot: amplitude ≈ exp(`intercept` − B·k²/4)."""

    b_factor_A2: float
    intercept: float
    correlation: float


def fsc(a_ft: Complexes, b_ft: Complexes, *, n_shells: int | None = None) -> tuple[Reals, Reals]:
    """Correlation of two transforms shell by shell: Σ Re(A·B*)/√(Σ|A|²·Σ|B|²).

    Parameters
    ----------
    a_ft, b_ft
        `(n, n, n//2+1)` or `(n, n//2+1)`, centred half.
    n_shells
        Length of the result, ``n//2+1`` unless given.

    Returns
    -------
    Correlation and number of voxels, `(n_shells,)` float64 on the host; 0 in a shell where one of both is empty.

    References
    ----------
    Harauz & van Heel, Optik 73, 146 (1986).
    """
    if a_ft.shape != b_ft.shape:
        raise InvalidInput(f"transforms of shapes {a_ft.shape} and {b_ft.shape} were given", expected="equal shapes")
    cross = radial_sum(a_ft.real * b_ft.real + a_ft.imag * b_ft.imag, n_shells=n_shells)
    power_a = radial_sum(a_ft.real**2 + a_ft.imag**2, n_shells=n_shells)
    power_b = radial_sum(b_ft.real**2 + b_ft.imag**2, n_shells=n_shells)
    scale = to_host(power_a * power_b) ** 0.5
    curve = np.divide(to_host(cross), scale, out=np.zeros_like(scale), where=scale > 0)
    return curve, shell_counts(a_ft.shape[-2], n_dims=a_ft.ndim, n_shells=n_shells)


def fsc_curve(a: Floats, b: Floats, *, pixel_size_A: float, mask: Floats | None = None, n_threads: int = 1) -> FscCurve:
    """Fourier shell correlation of two volumes.

    Parameters
    ----------
    a, b
        `(n, n, n)` real.
    pixel_size_A
        Voxel size.
    mask
        `(n, n, n)`, multiplied with both volumes.

    Returns
    -------
    Shells 0 … n//2, at frequency s/(n·pixel).
    """
    _check_boxes(a, b, 3)
    first, second = (a, b) if mask is None else (a * mask, b * mask)
    curve, count = fsc(fft3_centred(first, n_threads=n_threads), fft3_centred(second, n_threads=n_threads))
    return FscCurve(np.arange(curve.size) / (a.shape[-1] * pixel_size_A), curve, count)


def frc_curve(a: Floats, b: Floats, *, pixel_size_A: float, mask: Floats | None = None, n_threads: int = 1) -> FscCurve:
    """Fourier ring correlation of two images `(n, n)`; otherwise as :func:`fsc_curve`.

    References
    ----------
    Saxton & Baumeister, J. Microsc. 127, 127 (1982), doi 10.1111/j.1365-2818.1982.tb00405.x.
    """
    _check_boxes(a, b, 2)
    first, second = (a, b) if mask is None else (a * mask, b * mask)
    curve, count = fsc(fft2_centred(first, n_threads=n_threads), fft2_centred(second, n_threads=n_threads))
    return FscCurve(np.arange(curve.size) / (a.shape[-1] * pixel_size_A), curve, count)


def _check_boxes(a: Floats, b: Floats, n_dims: int) -> None:
    if a.shape != b.shape or a.ndim != n_dims or len(set(a.shape)) != 1:
        raise InvalidInput(
            f"arrays of shapes {a.shape} and {b.shape} were given",
            expected=f"two {'cubes' if n_dims == 3 else 'squares'} of one size",
        )


def resolution_at(frequency_1_A: npt.ArrayLike, fsc: npt.ArrayLike, threshold: float = 0.143) -> Resolution:
    """Resolution where a curve first falls below `threshold`, linear between shells.

    Parameters
    ----------
    frequency_1_A, fsc
        `(s,)`; frequency rises. Zero frequency is not looked at.
    threshold
        0.143 between half-maps, 0.5 between a map and its model (Rosenthal & Henderson 2003).

    Returns
    -------
    Where the curve never falls below: the last frequency's resolution (Nyquist), ``"never below"``. Where it
    starts below: the first shell's resolution, ``"always below"``.

    References
    ----------
    Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003), doi 10.1016/j.jmb.2003.07.013.
    """
    frequency, curve = np.asarray(frequency_1_A, dtype=np.float64), np.asarray(fsc, dtype=np.float64)
    if frequency.shape != curve.shape or frequency.ndim != 1:
        raise InvalidInput(f"curves of shapes {frequency.shape} and {curve.shape} were given", expected="(s,) twice")
    positive = frequency > 0
    frequency, curve = frequency[positive], curve[positive]
    if frequency.size == 0:
        raise InvalidInput("the curve has no shell beyond zero frequency", expected="at least one")
    below = np.flatnonzero(~(curve >= threshold))
    if below.size == 0:
        return Resolution(float(1.0 / frequency[-1]), "never below")
    first = int(below[0])
    if first == 0:
        return Resolution(float(1.0 / frequency[0]), "always below")
    high, low = curve[first - 1], curve[first]
    part = (high - threshold) / (high - low)
    crossing = frequency[first - 1] + part * (frequency[first] - frequency[first - 1])
    return Resolution(float(1.0 / crossing), "crossing")


def phase_randomised(volume: Floats, *, beyond_shell: int, rng: np.random.Generator, n_threads: int = 1) -> Floats:
    """Volume with the phases of all shells from `beyond_shell` on replaced by random ones; amplitudes are kept.

    Parameters
    ----------
    volume
        `(n, n, n)` real.
    beyond_shell
        First shell to be randomised: n·pixel/resolution.
    rng
        Source of randomness.

    References
    ----------
    Chen et al., Ultramicroscopy 135, 24 (2013), doi 10.1016/j.ultramic.2013.06.004.
    """
    xp = namespace(volume)
    ft = fft3_centred(volume, n_threads=n_threads)
    # The phases of a real white-noise volume are uniform and Hermitian, so the result is real without loss of power.
    noise = fft3_centred(xp.asarray(rng.standard_normal(volume.shape, dtype=np.float32)), n_threads=n_threads)
    phases = noise / xp.maximum(xp.abs(noise), 1e-30)
    outside = shell_index(volume.shape[-1], n_dims=3, xp=xp) >= beyond_shell
    mixed = xp.where(outside, xp.abs(ft) * phases, ft).astype(ft.dtype)
    return ifft3_centred(mixed, n=volume.shape[-1], n_threads=n_threads).astype(volume.dtype)


def corrected_fsc(masked: npt.ArrayLike, randomised: npt.ArrayLike, *, beyond_shell: int, guard: int = 2) -> Reals:
    """Masked FSC freed from the correlation the mask itself brings: (FSC_t − FSC_n)/(1 − FSC_n).

    Parameters
    ----------
    masked
        `(s,)` FSC_t of the masked half-maps.
    randomised
        `(s,)` FSC_n of the same with phases randomised from `beyond_shell` on.
    beyond_shell
        As given to :func:`phase_randomised`.
    guard
        The masked curve is kept up to ``beyond_shell + guard``, since the mask smears the step over a few shells.

    Returns
    -------
    `(s,)`, -1 to 1; 0 where the mask makes anything correlate fully, so that nothing can be told.

    References
    ----------
    Chen et al., Ultramicroscopy 135, 24 (2013), doi 10.1016/j.ultramic.2013.06.004.
    """
    total, noise = np.asarray(masked, dtype=np.float64), np.asarray(randomised, dtype=np.float64)
    true = total.copy()
    corrected = np.arange(total.size) >= beyond_shell + guard
    telling = corrected & (noise < 1.0 - _BLIND)
    true[corrected] = 0.0
    true[telling] = np.clip((total[telling] - noise[telling]) / (1.0 - noise[telling]), -1.0, 1.0)
    return true


def ssnr_from_fsc(fsc: npt.ArrayLike, *, of_full_map: bool = False) -> Reals:
    """Spectral signal-to-noise ratio FSC/(1 − FSC) of a half-map, twice that of the full map; negative FSC count as 0.

    References
    ----------
    Penczek, Methods Enzymol. 482, 73 (2010), doi 10.1016/S0076-6879(10)82003-8.
    """
    curve = np.clip(np.asarray(fsc, dtype=np.float64), 0.0, 1.0 - 1e-6)
    ratio: Reals = curve / (1.0 - curve)
    return 2.0 * ratio if of_full_map else ratio


def fsc_from_ssnr(ssnr: npt.ArrayLike) -> Reals:
    """Expected FSC of two halves with the given SSNR each: SSNR/(1 + SSNR)."""
    ratio = np.asarray(ssnr, dtype=np.float64)
    expected: Reals = ratio / (1.0 + ratio)
    return expected


def fsc_weights(fsc: npt.ArrayLike) -> Reals:
    """Figure of merit C_ref = √(2·FSC/(1 + FSC)) of the full map, 0 where the FSC is negative.

    References
    ----------
    Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003), doi 10.1016/j.jmb.2003.07.013, appendix.
    """
    curve = np.clip(np.asarray(fsc, dtype=np.float64), 0.0, 1.0)
    weights: Reals = np.sqrt(2.0 * curve / (1.0 + curve))
    return weights


def guinier_b_factor(
    frequency_1_A: npt.ArrayLike, amplitude: npt.ArrayLike, *, low_A: float = 10.0, high_A: float = 0.0
) -> Guinier:
    """B-factor of radially averaged amplitudes: slope of ln F against k² is −B/4.

    Parameters
    ----------
    frequency_1_A, amplitude
        `(s,)`; amplitudes of 0 or less are left out.
    low_A, high_A
        Resolution range of the fit [Å]; 0 for no limit at high resolution.

    References
    ----------
    Rosenthal & Henderson, J. Mol. Biol. 333, 721 (2003), doi 10.1016/j.jmb.2003.07.013.
    """
    frequency, values = np.asarray(frequency_1_A, dtype=np.float64), np.asarray(amplitude, dtype=np.float64)
    used = (frequency >= 1.0 / low_A) & (values > 0.0)
    if high_A > 0.0:
        used &= frequency <= 1.0 / high_A
    if np.count_nonzero(used) < 2:
        raise InvalidInput(
            f"fewer than two shells lie between {low_A} Å and {high_A} Å",
            expected="a range with at least two shells of positive amplitude",
        )
    x, y = frequency[used] ** 2, np.log(values[used])
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(np.sum(dx * dy) / np.sum(dx * dx))
    scale = float(np.sqrt(np.sum(dx * dx) * np.sum(dy * dy)))
    correlation = float(np.sum(dx * dy)) / scale if scale > 0.0 else 0.0
    return Guinier(-4.0 * slope, float(y.mean() - slope * x.mean()), correlation)
