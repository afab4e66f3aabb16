"""Detection in coloured noise: a micrograph made small, its noise power away from particles, z-values, their tail.

What is looked for is its caller's: round particles are in ``blob``, views of a map in ``template_match``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cryoframe.numerics import ctf
from cryoframe.numerics.backend import C64, F32, Bools, Complexes, Floats, Ints, Reals
from cryoframe.numerics.fourier import fourier_crop, good_size, irfft2, rfft2
from cryoframe.numerics.grids import frequencies_1_A
from cryoframe.numerics.spectrum import clip_outliers, robust_scale

#: Noise power is smooth: it is taken in bands of this width in the logarithm of the frequency.
_BAND = 0.25
#: Outliers beyond so many standard deviations are cut before anything is correlated.
_CLIP_SD = 4.0
#: Noise is taken from where no particle is, if that is at least this share of the image.
_LEAST_FREE_FRAC = 0.1


@dataclass(frozen=True, slots=True)
class Transfer:
    """The microscope as the filter needs to know it; the defocus is the mean of the two."""

    voltage_kV: float
    cs_mm: float
    amplitude_contrast: float
    defocus_A: float
    phase_shift_deg: float = 0.0

    def at(self, k: Floats) -> Reals:
        """CTF at frequencies `k` [1/Å]."""
        return np.asarray(
            ctf.ctf_1d(
                k,
                voltage_kV=self.voltage_kV,
                cs_mm=self.cs_mm,
                amplitude_contrast=self.amplitude_contrast,
                defocus_A=self.defocus_A,
                phase_shift_deg=self.phase_shift_deg,
            ),
            dtype=np.float64,
        )


@dataclass(frozen=True)
class Canvas:
    """A micrograph ready to be correlated: small, particles bright, mirrored over its edges, transformed once.

    Parameters
    ----------
    image
        `(ny, nx)` float32, small, particles bright, mean 0.
    step_A
        `(2,)` pixel along x and y [Å].
    first_A
        Where pixel [0, 0] of `image` lies, from the centre of pixel [0, 0] of the micrograph, along both axes [Å].
    shape
        `(my, mx)` of the padded image.
    ft
        `(my, mx//2+1)` its raw half transform.
    k_1_A, ring
        `(my, mx//2+1)` frequency and number of the ring it belongs to.
    ring_k_1_A
        `(r,)` frequency of each ring.
    """

    image: F32
    step_A: Reals
    first_A: float
    shape: tuple[int, int]
    ft: C64
    k_1_A: Reals
    ring: Ints
    ring_k_1_A: Reals

    @property
    def pixel_A(self) -> float:
        """Mean of the two pixels."""
        return float(self.step_A.mean())

    def to_A(self, positions_px: Reals) -> Reals:
        """Positions `(m, 2)` (x, y) of the small image in the micrograph's frame."""
        return positions_px * self.step_A + self.first_A


def prepare(
    micrograph: Floats, pixel_size_A: float, *, small_pixel_A: float, margin_A: float, n_threads: int = 1
) -> Canvas:
    """Make a micrograph, protein dark, small and transform it.

    Parameters
    ----------
    micrograph
        `(ny, nx)` as recorded.
    small_pixel_A
        About what pixel is wanted; never smaller than `pixel_size_A`.
    margin_A
        How far it is continued by its mirror image, so that opposite edges do not meet.
    """
    clipped = -clip_outliers(micrograph, n_sigma=_CLIP_SD)
    # Means of whole blocks first, as long as they leave twice the wanted frequencies: a quarter of the transform.
    block = max(int(small_pixel_A / pixel_size_A / 2.0), 1)
    binned = _block_means(clipped, block)
    ratio = min(pixel_size_A * block / small_pixel_A, 1.0)
    small = (max(round(binned.shape[0] * ratio), 2), max(round(binned.shape[1] * ratio), 2))
    image = fourier_crop(binned, small, n_threads=n_threads).astype(np.float32)
    image -= image.mean()
    step_A = np.array([pixel_size_A * block * binned.shape[1 - i] / image.shape[1 - i] for i in range(2)])
    margin = round(margin_A / float(step_A.mean()))
    shape = (good_size(image.shape[0] + margin), good_size(image.shape[1] + margin))
    pad = [(0, shape[0] - image.shape[0]), (0, shape[1] - image.shape[1])]
    ft = rfft2(np.pad(image, pad, mode="symmetric"), n_threads=n_threads).astype(np.complex64)
    k = np.asarray(frequencies_1_A(shape, float(step_A.mean()), centred_half=False), dtype=np.float64)
    length_A = max(shape) * float(step_A.mean())
    ring = np.rint(k * length_A).astype(np.int64)
    ring_k = np.arange(int(ring.max()) + 1) / length_A
    return Canvas(image, step_A, 0.5 * (block - 1) * pixel_size_A, shape, ft, k, ring, ring_k)


def _block_means(image: F32, block: int) -> F32:
    if block == 1:
        return image
    ny, nx = (n // block for n in image.shape)
    whole = image[: ny * block, : nx * block].reshape(ny, block, nx, block)
    means: F32 = whole.mean(axis=(1, 3), dtype=np.float32)
    return means


def ring_power(ft: Complexes, ring: Ints, n_rings: int) -> tuple[Reals, Ints]:
    """Mean power `(n_rings,)` of a raw half transform in rings, and how many samples each has."""
    power = (ft.real.astype(np.float64) ** 2 + ft.imag.astype(np.float64) ** 2).ravel()
    count = np.bincount(ring.ravel(), minlength=n_rings)
    mean: Reals = np.bincount(ring.ravel(), power, n_rings) / np.maximum(count, 1)
    return mean, count.astype(np.int64)


def first_guess_power(canvas: Canvas) -> Reals:
    """Radial power `(r,)` of all the image as a parabola in the logarithm of the frequency.

    So smooth that the particles' own power hardly enters: a filter divided by that would undo the particle's shape.
    """
    n_rings = len(canvas.ring_k_1_A)
    mean, count = ring_power(canvas.ft, canvas.ring, n_rings)
    radius = np.arange(1, n_rings)
    known = (count[1:] > 0) & (mean[1:] > 0)
    # Weights that make every octave count alike.
    line = np.polynomial.polynomial.polyfit(
        np.log(radius[known]), np.log(mean[1:][known]), 2, w=1.0 / np.sqrt(radius[known])
    )
    logarithm = np.polynomial.polynomial.polyval(np.log(np.maximum(np.arange(n_rings), 1)), line)
    return np.asarray(np.exp(logarithm) / float(np.prod(canvas.shape)))


def noise_power(canvas: Canvas, free: Bools) -> Reals | None:
    """Radial power `(r,)` a pixel where no particle is, smooth in the logarithm of the frequency.

    Parameters
    ----------
    free
        `(ny, nx)` pixels of the small image without particles.

    Returns
    -------
    None where fewer than a tenth of the pixels are free: their power would be that of the holes in it.

    References
    ----------
    Periodogram of what is observed of a stationary process: Jones, Ann. Math. Stat. 33, 1007 (1962),
    doi 10.1214/aoms/1177704470, here divided by the number of pixels observed.
    """
    if free.mean() < _LEAST_FREE_FRAC:
        return None
    n_rings = len(canvas.ring_k_1_A)
    observed = np.where(free, canvas.image - canvas.image[free].mean(), 0.0).astype(np.float32)
    pad = [(0, canvas.shape[i] - canvas.image.shape[i]) for i in range(2)]
    mean, count = ring_power(rfft2(np.pad(observed, pad)), canvas.ring, n_rings)
    edges = np.unique(np.round(np.exp(np.arange(0.0, np.log(n_rings) + _BAND, _BAND))).astype(int))
    where, level = [], []
    for low, high in pairwise(edges.tolist()):
        n = count[low:high]
        total = float((n * mean[low:high]).sum())
        if total > 0:
            where.append(float((n * np.log(np.arange(low, min(high, n_rings)))).sum() / n.sum()))
            level.append(np.log(total / n.sum()))
    if not where:
        return None
    smooth = np.exp(np.interp(np.log(np.maximum(np.arange(n_rings), 1)), where, level))
    return np.asarray(smooth / int(free.sum()))


def z_map(canvas: Canvas, weight: Reals, free: Bools | None = None) -> F32:
    """Filter with `weight` `(r,)` of each ring; standard deviations from what is usual where `free`.

    References
    ----------
    Matched filter in coloured noise: North, Proc. IEEE 51, 1016 (1963), doi 10.1109/PROC.1963.2383.
    """
    ny, nx = canvas.image.shape
    filtered = irfft2(canvas.ft * weight.astype(np.float32)[canvas.ring], canvas.shape)[:ny, :nx]
    centre, spread = robust_scale(filtered if free is None else filtered[free])
    z: F32 = ((filtered - centre) / spread).astype(np.float32)
    return z


def expected_maxima(z: float, *, weight: Reals, power: Reals, canvas: Canvas) -> float:
    """How many local maxima above `z` noise alone makes in the filtered image.

    Parameters
    ----------
    z
        Threshold, 1.5 or more [standard deviations].
    weight, power
        `(r,)` filter and noise power of each ring.

    Notes
    -----
    Area · λ₂ · (2π)^(−3/2) · z · exp(−z²/2), λ₂ the variance of the derivative along an axis
    of the field of variance 1.

    References
    ----------
    Adler, The Geometry of Random Fields (1981), doi 10.1137/1.9780898718980, Theorem 6.3.1; Worsley et al., Hum. Brain
    Mapp. 4, 58 (1996), doi 10.1002/(SICI)1097-0193(1996)4:1<58::AID-HBM4>3.0.CO;2-O, the Euler characteristic in 2-D.
    """
    n_samples = np.bincount(canvas.ring.ravel(), minlength=len(weight))
    passed = n_samples * weight**2 * power
    if not passed.sum() > 0:
        return 0.0
    slope_1_A2 = 2.0 * np.pi**2 * float((passed * canvas.ring_k_1_A**2).sum() / passed.sum())
    area_A2 = float(np.prod(canvas.image.shape) * np.prod(canvas.step_A))
    return float(area_A2 * slope_1_A2 * (2.0 * np.pi) ** -1.5 * z * np.exp(-0.5 * z * z))
