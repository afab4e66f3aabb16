"""Frames as an integrating camera records them, from expected electrons; counting cameras are in ``detector``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.backend import F32, Floats
from cryoframe.numerics.camera_presets import Camera
from cryoframe.numerics.detector_response import checked_expected, energy_quantiles, filtered


def integrate_frame(expected_e: Floats, camera: Camera, rng: np.random.Generator) -> F32:
    """Frame of an integrating camera.

    Electrons are Poisson about the spread image; each deposits an energy of mean 1 (gamma law of the camera's
    variance, or Landau-like); energy is blurred, multiplied by the gain, and the readout adds normal noise.

    Parameters
    ----------
    expected_e
        `(ny, nx)` electrons a pixel in the whole exposure.
    camera
        An integrating one.
    rng
        Source of randomness.

    Returns
    -------
    `(ny, nx)` float32 grey values, without pedestal.

    References
    ----------
    McMullan et al., Ultramicroscopy 109, 1126 (2009), doi 10.1016/j.ultramic.2009.04.002 (signal, noise and their
    spread); Swank, J. Appl. Phys. 44, 4199 (1973), doi 10.1063/1.1662918 (noise of deposited energy).
    """
    camera.check_counting(False)
    image, _ = checked_expected(expected_e)
    detected = np.maximum(filtered(image, camera, part="spread"), 0.0) * camera.detection_frac
    return integrate_detected(detected, camera, rng)


def integrate_detected(detected: Floats, camera: Camera, rng: np.random.Generator) -> F32:
    """Frame of an integrating camera from electrons `(ny, nx)` detected on average, spread applied."""
    camera.check_counting(False)
    energy = _deposited(rng.poisson(detected), camera, rng)
    frame = filtered(energy, camera, part="blur") * np.float32(camera.gain_grey)
    if camera.read_noise_grey > 0.0:
        frame += np.float32(camera.read_noise_grey) * rng.standard_normal(frame.shape, dtype=np.float32)
    return frame


def _deposited(n_electrons: npt.NDArray[np.int64], camera: Camera, rng: np.random.Generator) -> F32:
    """Energy in each pixel in units of the mean deposit of one electron."""
    if camera.energy_width_frac > 0.0:
        law = energy_quantiles(camera.energy_width_frac)
        each = rng.choice(law / law.mean(), int(n_electrons.sum()))
        owner = np.repeat(np.arange(n_electrons.size), n_electrons.ravel())
        total = np.bincount(owner, weights=each, minlength=n_electrons.size)
        return total.reshape(n_electrons.shape).astype(np.float32)
    if camera.energy_variance > 0.0:
        # The sum of n gamma deviates of shape s is one of shape n·s; numpy gives 0 for shape 0.
        return (rng.standard_gamma(n_electrons / camera.energy_variance) * camera.energy_variance).astype(np.float32)
    return n_electrons.astype(np.float32)
