"""What theory says of a camera: MTF, noise power, DQE, coincidence loss; nothing is drawn or measured here.

Spatial frequencies are in cycles per physical pixel: Nyquist of the sensor is 0.5, of super-resolution 1.
"""

from __future__ import annotations

import math

import numpy as np

from cryoframe.errors import InvalidInput
from cryoframe.numerics.backend import F32, Floats, Reals
from cryoframe.numerics.camera_presets import Camera
from cryoframe.numerics.fourier import good_size, irfft2, rfft2

_N_QUANTILES = 4096
_REACH_SIGMA = 5.0


def normal_quantiles(n: int = _N_QUANTILES) -> Reals:
    """Mid-quantiles `(n,)` of the normal law, scaled to variance 1, so that a draw is one look-up.

    References
    ----------
    Inverse of the distribution by Newton's method from a bisected grid; definition.
    """
    grid = np.linspace(-5.0, 5.0, 20001)
    cumulated = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in grid])
    quantiles: Reals = np.interp((np.arange(n) + 0.5) / n, cumulated, grid)
    scaled: Reals = quantiles / quantiles.std()
    return scaled


def energy_quantiles(width_frac: float, n: int = _N_QUANTILES) -> Reals:
    """Mid-quantiles `(n,)` of the deposited energy in units of the most probable one.

    Moyal's form of Landau's law: E = 1 + w·(−ln z²) for normal z has its mode at 1. Deposits below a half, which
    thin silicon does not show, are raised to it.

    References
    ----------
    Moyal, Phil. Mag. 46, 263 (1955), doi 10.1080/14786440308521076.
    """
    if width_frac == 0.0:
        return np.ones(n)
    # −ln z² falls with |z|: its quantile at q is that of |z| at 1 − q, the normal one at 1 − q/2.
    upper = normal_quantiles(2 * n)[n:][::-1]
    energy: Reals = np.maximum(1.0 - width_frac * np.log(upper**2), 0.5)
    return energy


def energy_excess(camera: Camera) -> float:
    """Relative variance of the energy an electron deposits: DQE(0) of integration is 1 / (1 + excess).

    References
    ----------
    Swank, J. Appl. Phys. 44, 4199 (1973), doi 10.1063/1.1662918.
    """
    if camera.energy_width_frac > 0.0:
        energy = energy_quantiles(camera.energy_width_frac)
        return float(energy.var() / energy.mean() ** 2)
    return camera.energy_variance


def spread_transfer(camera: Camera, frequency_1_px: Floats) -> Reals:
    """Transfer of the random part of the spread, Σ w·exp(−2π²σ²k²)."""
    k = np.asarray(frequency_1_px, dtype=np.float64)
    total: Reals = np.zeros_like(k)
    for weight, sigma_px in camera.spread:
        total = total + weight * np.exp(-2.0 * (math.pi * sigma_px * k) ** 2)
    return total


def blur_transfer(camera: Camera, frequency_1_px: Floats) -> Reals:
    """Transfer of the part of the spread that is the same for every electron, exp(−2π²σ²k²)."""
    blur: Reals = np.exp(-2.0 * (math.pi * camera.blur_sigma_px * np.asarray(frequency_1_px, dtype=np.float64)) ** 2)
    return blur


def pixel_transfer(camera: Camera, frequency_1_px: Floats) -> Reals:
    """Transfer of summing over an output pixel along its side, sin(πkd)/(πkd)."""
    side: Reals = np.sinc(np.asarray(frequency_1_px, dtype=np.float64) / camera.super_resolution)
    return side


def mtf(camera: Camera, frequency_1_px: Floats) -> Reals:
    """Modulation transfer function before sampling, along an axis of the sensor.

    References
    ----------
    McMullan et al., Ultramicroscopy 109, 1126 (2009), doi 10.1016/j.ultramic.2009.04.002 (pixel and Gaussians).
    """
    k = frequency_1_px
    return pixel_transfer(camera, k) * spread_transfer(camera, k) * blur_transfer(camera, k)


def zero_dqe(camera: Camera) -> float:
    """DQE at zero frequency without readout noise and in the limit of low rates."""
    if camera.counting:
        return camera.detection_frac
    return camera.detection_frac / (1.0 + energy_excess(camera))


def nnps(camera: Camera, frequency_1_px: Floats, *, dose_e_px: float = math.inf) -> Reals:
    """Noise power over that at zero frequency, of a flat field, in the limit of low rates.

    Parameters
    ----------
    frequency_1_px
        Along an axis, up to the Nyquist frequency of the output.
    dose_e_px
        Electrons a pixel; readout noise counts the less the higher it is. Counting has none.
    """
    shot = blur_transfer(camera, frequency_1_px) ** 2
    if camera.counting or camera.read_noise_grey == 0.0 or math.isinf(dose_e_px):
        return shot
    mean_energy = camera.gain_grey
    power_0 = dose_e_px * camera.detection_frac * (1.0 + energy_excess(camera)) * mean_energy**2
    readout = camera.read_noise_grey**2
    flat: Reals = (shot * power_0 + readout) / (power_0 + readout)
    return flat


def dqe(camera: Camera, frequency_1_px: Floats, *, dose_e_px: float = math.inf) -> Reals:
    """Detective quantum efficiency DQE(0)·MTF²/NNPS, in the limit of low rates.

    References
    ----------
    McMullan et al., Ultramicroscopy 109, 1126 (2009), doi 10.1016/j.ultramic.2009.04.002;
    McMullan et al., Ultramicroscopy 147, 156 (2014), doi 10.1016/j.ultramic.2014.08.002.
    """
    at_zero = zero_dqe(camera)
    if not camera.counting and not math.isinf(dose_e_px):
        power_0 = dose_e_px * camera.detection_frac * (1.0 + energy_excess(camera)) * camera.gain_grey**2
        at_zero *= power_0 / (power_0 + camera.read_noise_grey**2)
    curve: Reals = at_zero * mtf(camera, frequency_1_px) ** 2 / nnps(camera, frequency_1_px, dose_e_px=dose_e_px)
    return curve


def coincidence_loss(detected_e_px: Floats | float, area_px: float) -> Reals:
    """Fraction of detected electrons not counted, 1 − (1 − exp(−n·a))/(n·a).

    Cells of `a` pixels are hit or not in an internal frame. Hits of a cell are Poisson of mean n·a, and it counts
    one with probability 1 − exp(−n·a). Exact for pixels that count each for itself (a = 1). Where pixels join to
    events, a pair within the merging area A (:func:`cryoframe.numerics.detector.merging_area_px`) loses one, there are
    n·A/2 pairs an electron, so a = A holds to first order in n·a; beyond it larger groups merge.

    Parameters
    ----------
    detected_e_px
        n: detected electrons a pixel and internal frame.
    area_px
        a: pixels an event takes for itself.

    References
    ----------
    Li et al., Nat. Methods 10, 584 (2013), doi 10.1038/nmeth.2472; Ruskin et al., J. Struct. Biol. 184, 385 (2013),
    doi 10.1016/j.jsb.2013.10.016; Zambon, Front. Phys. 12, 1408430 (2024), doi 10.3389/fphy.2024.1408430.
    """
    if area_px <= 0.0:
        raise InvalidInput(f"an event that takes {area_px} px was asked for", expected="an area above 0")
    load = np.asarray(detected_e_px, dtype=np.float64) * area_px
    safe = np.where(load > 0.0, load, 1.0)
    loss: Reals = np.where(load > 0.0, 1.0 + np.expm1(-safe) / safe, 0.0)
    return loss


def filtered(image: Floats, camera: Camera, *, part: str, pixels_to_one: int = 1, n_threads: int = 1) -> F32:
    """Image `(ny, nx)` with the camera's spread or blur applied, mirrored at its edges so that nothing leaves.

    Parameters
    ----------
    image
        Any image of the sensor.
    part
        ``"spread"`` or ``"blur"``.
    pixels_to_one
        Pixels of `image` to one of the sensor, along an axis.
    """
    transfer = {"spread": spread_transfer, "blur": blur_transfer}[part]
    widest = max(sigma for _, sigma in camera.spread) if part == "spread" else camera.blur_sigma_px
    margin = math.ceil(_REACH_SIGMA * widest * pixels_to_one)
    shape = [good_size(n + 2 * margin) for n in image.shape]
    wide = np.pad(
        image.astype(np.float32, copy=False),
        [(margin, padded - n - margin) for n, padded in zip(image.shape, shape, strict=True)],
        mode="symmetric",
    )
    ky = np.fft.fftfreq(shape[0])[:, None] * pixels_to_one
    kx = np.fft.rfftfreq(shape[1])[None, :] * pixels_to_one
    ft = rfft2(wide, n_threads=n_threads)
    ft *= transfer(camera, np.sqrt(ky.astype(np.float32) ** 2 + kx.astype(np.float32) ** 2)).astype(np.float32)
    whole = irfft2(ft, shape, n_threads=n_threads)
    result: F32 = whole[margin : margin + image.shape[0], margin : margin + image.shape[1]].astype(np.float32)
    return result


def checked_expected(expected_e: Floats, pixels_to_one: int = 1) -> tuple[F32, tuple[int, int]]:
    """Return an image of expected electrons as float32 and the shape of the sensor under it, or refuse it."""
    if expected_e.ndim != 2 or pixels_to_one < 1 or any(n % pixels_to_one for n in expected_e.shape):
        raise InvalidInput(
            f"an expected image of shape {expected_e.shape} with {pixels_to_one} pixels to one of the sensor was given",
            expected="(ny, nx), both divisible by pixels_to_one",
        )
    image = np.ascontiguousarray(expected_e, dtype=np.float32)
    if image.size == 0 or not np.isfinite(image).all() or float(image.min()) < 0.0:
        raise InvalidInput(
            "the expected image is empty, not finite or negative somewhere",
            expected="electrons a pixel and frame, 0 or more",
            remedy="Give intensities, not amplitudes or contrast.",
        )
    ny, nx = image.shape
    return image, (ny // pixels_to_one, nx // pixels_to_one)
