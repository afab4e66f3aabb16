"""Thickness of the ice from the rings of its spectrum, and from the intensity behind an energy slit. No CTF is fitted.

Ice at all depths of a thickness t has the power ⟨sin²(χ − a)⟩ = ½·(1 − cos 2(χ − a)·sinc(λk²t)): the rings fade
towards a node at λk²t = 1 and are inverted beyond. Relative to its background B a spectrum has the ring contrast
(B − N)/B·sinc(λk²t), with N the power of the counting noise, which the far end of the spectrum shows; so the thickness
can be told from the fading alone, before the node is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import Bools, Floats, Reals
from cryoframe.numerics.ctf_rings import equal_phase_k

if TYPE_CHECKING:
    from cryoframe.numerics.ctf_fit import Lens, Samples

#: Coarser rings are not looked at: particles, not ice, make them.
_LOW_A = 12.0
_STEP_A, _THICKEST_A = 12.5, 3000.0
#: Blur of the whole image, exp(−b·k²) of the rings, that thickness is held against.
_LARGEST_B_A2 = 100.0
#: Noise of neighbouring samples is correlated by the Hann window of the tiles: (1 + 2·((2/3)² + (1/6)²))².
_SAMPLES_TO_ONE = 3.78
#: Contrast of the rings in units of the physical one beyond which the model does not hold (calibrated on the twin).
_PLAUSIBLE = (0.5, 1.6)
_LEAST_GAIN, _LARGEST_ERROR_A, _LEAST_EXPLAINED = 10.0, 25.0, 0.2


@dataclass(frozen=True, slots=True)
class Thickness:
    """Thickness along the beam and how well it explains the rings.

    Parameters
    ----------
    thickness_A, error_A
        Along the beam, and its standard error.
    gain
        By how much χ² is below that of thin ice and a blurred image.
    explained_frac
        Share of the rings' weighted mean square that the model explains.
    """

    thickness_A: float
    error_A: float
    gain: float
    explained_frac: float

    @property
    def is_known(self) -> bool:
        """Whether the rings tell it."""
        return self.gain >= _LEAST_GAIN and self.error_A <= _LARGEST_ERROR_A and self.explained_frac >= _LEAST_EXPLAINED


def thickness_from_intensity_A(mean_grey: float, vacuum_grey: float, mean_free_path_A: float) -> float:
    """Thickness [Å] from the mean grey value behind an energy slit: Λ·ln(I₀/I), never negative.

    Parameters
    ----------
    mean_grey, vacuum_grey
        Of the micrograph, and of the same exposure with nothing in the beam.
    mean_free_path_A
        Of energy loss, :func:`cryoframe.numerics.ice.inelastic_mean_free_path_A`; it differs with aperture and slit,
        and its relative error is that of the answer.

    References
    ----------
    Malis, Cheng & Egerton, J. Electron Microsc. Tech. 8, 193 (1988), doi 10.1002/jemt.1060080206; Rice et al., J.
    Struct. Biol. 204, 38 (2018), doi 10.1016/j.jsb.2018.06.007.
    """
    if not (mean_grey > 0.0 and vacuum_grey > 0.0 and mean_free_path_A > 0.0):
        raise InvalidInput(
            f"grey values of {mean_grey:g} (mean) and {vacuum_grey:g} (vacuum) give no thickness",
            expected="both above 0",
            remedy="Give vacuum_grey in the units of the micrograph, or 0.",
        )
    return max(mean_free_path_A * float(np.log(vacuum_grey / mean_grey)), 0.0)


def thickness_from_rings(
    samples: Samples,
    power: Floats,
    lens: Lens,
    point: Reals,
    *,
    pixel_size_A: float,
    spread_A: tuple[float, float] = (0.0, 0.0),
) -> Thickness | None:
    """Thickness that explains how the rings fade.

    Parameters
    ----------
    samples
        Every ring of `power`, from :func:`cryoframe.numerics.ctf_fit.flatten`.
    power
        `(n, n//2+1)` mean periodogram of Hann-tapered tiles of a micrograph that is not dose-weighted.
    lens, point
        The fit.
    spread_A
        By how much a tilt lets the defocus differ from side to side of the field, along x and along y: it fades the
        rings as thickness does.

    Returns
    -------
    None where there are too few rings finer than 12 Å.

    References
    ----------
    The node: Tichelaar et al., Ultramicroscopy 216, 113023 (2020), doi 10.1016/j.ultramic.2020.113023; thickness from
    it: Elferich et al., eLife 13, RP97227 (2024), doi 10.7554/eLife.97227.
    """
    n, k = power.shape[0], samples.ring_k_1_A
    used = k > 1.0 / _LOW_A
    if used.sum() < 40:
        return None
    observed, fringe, count = _profiles(samples, lens, point)
    contrast = _ring_contrast(power, samples, used)
    seen = fringe[used] * contrast * _window_left(lens, point, k[used], extent_A=n * pixel_size_A)
    for spread in spread_A:
        seen = seen * np.sinc(lens.wavelength_A * k[used] ** 2 * spread)
    weight = count[used] / (_SAMPLES_TO_ONE * float(np.var(samples.table[:, 3])))
    thicknesses = np.arange(0.0, _THICKEST_A, _STEP_A)
    fading = np.sinc(lens.wavelength_A * k[used] ** 2 * thicknesses[:, None])
    decay = np.exp(-np.arange(0.0, _LARGEST_B_A2, 0.5)[:, None] * k[used] ** 2)
    misfit, blurred = (_misfit(seen * factor, observed[used], weight) for factor in (fading, decay))
    nothing = float(weight @ observed[used] ** 2)
    return _described(thicknesses, misfit, unfaded=float(blurred.min()), nothing=nothing)


def _misfit(models: Reals, observed: Reals, weight: Reals) -> Reals:
    """χ² of each row of models `(m, n)` at its best plausible amplitude, less that of nothing."""
    products, squares = models @ (weight * observed), models**2 @ weight
    amplitudes = np.clip(products / np.maximum(squares, 1e-30), *_PLAUSIBLE)
    misfit: Reals = amplitudes**2 * squares - 2.0 * amplitudes * products
    return misfit


def _described(thicknesses: Reals, misfit: Reals, *, unfaded: float, nothing: float) -> Thickness:
    best = int(np.argmin(misfit))
    near = np.flatnonzero(misfit < misfit[best] + 1.0)
    place, error = float(thicknesses[best]), 0.5 * float(thicknesses[near[-1]] - thicknesses[near[0]])
    if 0 < best < len(misfit) - 1:
        before, here, after = misfit[best - 1 : best + 2]
        curvature = max(float(before - 2.0 * here + after), 1e-12)
        place += 0.5 * _STEP_A * float(before - after) / curvature
        error = max(error, _STEP_A * float(np.sqrt(2.0 / curvature)))
    explained = -float(misfit[best]) / max(nothing, 1e-30)
    return Thickness(place, error, unfaded - float(misfit[best]), explained)


def _profiles(samples: Samples, lens: Lens, point: Reals) -> tuple[Reals, Reals, Reals]:
    """Observed and fitted means along lines of equal phase, and how many samples are in each, `(n_rings,)`."""
    ring_k = samples.ring_k_1_A
    at = np.rint((equal_phase_k(samples, lens, point) - ring_k[0]) / (ring_k[1] - ring_k[0])).astype(np.int64)
    inside = (at >= 0) & (at < len(ring_k))
    count = np.bincount(at[inside], minlength=len(ring_k)).astype(np.float64)
    fringe = -np.cos(lens.doubled_phase(samples.table, point))
    observed, fitted = (
        np.bincount(at[inside], values[inside], len(ring_k)) / np.maximum(count, 1.0)
        for values in (samples.table[:, 3], fringe)
    )
    return observed, fitted, count


def _ring_contrast(power: Floats, samples: Samples, used: Bools) -> Reals:
    """(B − N)/B of each used ring: B smooth, N the lowest mean over a twelfth of the rings."""
    count = np.maximum(np.bincount(samples.ring, minlength=samples.n_rings), 1)
    mean = np.bincount(samples.ring, power.ravel()[samples.where], samples.n_rings) / count
    inner = mean[: max(int(0.98 * samples.n_rings), 1)]
    width = max(samples.n_rings // 12, 4)
    floor = float(np.convolve(inner, np.ones(width) / width, mode="valid").min())
    unit = np.linspace(-1.0, 1.0, int(used.sum()))
    smooth = np.exp(np.polynomial.legendre.legval(unit, np.polynomial.legendre.legfit(unit, np.log(mean[used]), 9)))
    contrast: Reals = np.maximum(smooth - floor, 0.0) / smooth
    return contrast


def _window_left(lens: Lens, point: Reals, k: Reals, *, extent_A: float) -> Reals:
    """Contrast that the tiles' Hann window leaves of rings: its self-convolution at the shift λ·k·(Δf − Cs·λ²k²)·2."""
    shift = 2.0 * k * lens.wavelength_A * np.abs(point[0] - lens.cs_A * lens.wavelength_A**2 * k**2) / extent_A
    axis = np.sin(np.pi * (np.arange(256) + 0.5) / 256) ** 2
    overlap = np.correlate(axis, axis, "full")[255:]
    overlap = overlap / overlap[0]
    at = np.arange(256) / 256.0
    angles = (np.arange(8) + 0.5) * np.pi / 16.0
    left = [
        np.interp(shift * np.cos(a), at, overlap, right=0.0) * np.interp(shift * np.sin(a), at, overlap, right=0.0)
        for a in angles
    ]
    mean: Reals = np.mean(left, axis=0)
    return mean
