"""From projected potentials of a field to expected electrons per pixel, in the weak-phase approximation; no detector.

The field is cut into slabs along the beam. The image of a weak phase object is linear in its potential, so each slab is
filtered with the transfer function of its own depth and the results are added. Contrast is relative to the unscattered
beam and negative where protein is, as recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from cryoframe.errors import InvalidInput
from cryoframe.numerics.aberrations import symmetric_phase, true_frequencies
from cryoframe.numerics.backend import C64, F32, Complexes, Floats, Ints, Reals, native
from cryoframe.numerics.ctf import Envelope, amplitude_phase_rad, wavelength_A
from cryoframe.numerics.fourier import ifft2_centred, irfft2, rfft2, shift_images
from cryoframe.numerics.grids import frequency_axes_1_A
from cryoframe.numerics.ice import beam_fractions
from cryoframe.numerics.lens import (
    Lens,
    aperture_1_A,
    damping,
    even_phase,
    odd_factor,
    phase_per_potential_A,
)
from cryoframe.numerics.projection import project

_IDENTITY = ((1.0, 0.0), (0.0, 1.0))


def particle_projections(volume_ft: C64, rotations: Reals, pixel_size_A: float, *, padding: int = 2) -> F32:
    """Projected potentials `(m, n, n)` [1/Å] of a map of potential [1/Å²] prepared by `projection.prepare_volume`."""
    slices = project(volume_ft, rotations, padding=padding)
    flat: F32 = (ifft2_centred(slices) * np.float32(pixel_size_A)).astype(np.float32)
    return flat


def slab_thickness_A(resolution_A: float, voltage_kV: float, *, error_rad: float = 0.2) -> float:
    """Thickest slab whose faces are out of phase with its middle by no more than `error_rad` at a resolution.

    π·λ·k²·Δz/2 = error, see DeRosier, Ultramicroscopy 81, 83 (2000), doi 10.1016/S0304-3991(99)00120-5.
    """
    return 2.0 * error_rad * resolution_A**2 / (np.pi * wavelength_A(voltage_kV))


def slab_index(z_A: Reals, thickness_A: float) -> tuple[Ints, Reals]:
    """Slab of each depth and the depths of the middles of the slabs that are not empty."""
    if not thickness_A > 0:
        raise InvalidInput(f"slabs of {thickness_A} Å were asked for", expected="more than 0 Å")
    number, index = np.unique(np.round(np.asarray(z_A) / thickness_A), return_inverse=True)
    return index.reshape(-1).astype(np.int64), number * thickness_A


def stamp(field: F32, patches: F32, x_A: Reals, y_A: Reals, pixel_size_A: float) -> None:
    """Add projections `(m, b, b)`, origin at b//2, to `field` `(ny, nx)` at positions from the centre of pixel [0, 0].

    What lies outside the field is cut off.
    """
    if patches.ndim != 3 or patches.shape[-1] != patches.shape[-2] or not len(patches) == len(x_A) == len(y_A):
        raise InvalidInput(
            f"patches of shape {patches.shape} for {len(x_A)} x and {len(y_A)} y were given",
            expected="(m, b, b) and m positions",
        )
    box = patches.shape[-1]
    place = np.stack([np.asarray(x_A), np.asarray(y_A)], axis=1) / pixel_size_A
    whole = np.round(place).astype(np.int64)
    moved = shift_images(patches, place - whole)
    for patch, (x, y) in zip(moved, whole - box // 2, strict=True):
        add_patch(field, patch, int(y), int(x))


def add_patch(field: F32, patch: Floats, y: int, x: int) -> None:
    """Add a square patch with its first pixel at row `y` and column `x` of `field`; what lies outside is cut off."""
    box = patch.shape[-1]
    rows = slice(max(y, 0), max(min(y + box, field.shape[0]), 0))
    columns = slice(max(x, 0), max(min(x + box, field.shape[1]), 0))
    if rows.start < rows.stop and columns.start < columns.stop:
        field[rows, columns] += patch[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]


def slabs(
    shape: tuple[int, int],
    pixel_size_A: float,
    patches: F32,
    *,
    x_A: Reals,
    y_A: Reals,
    z_A: Reals,
    thickness_A: float,
) -> Iterator[tuple[float, F32]]:
    """Depth [Å] and projected potential `(ny, nx)` [1/Å] of each slab that holds particles."""
    index, depths = slab_index(z_A, thickness_A)
    for number, depth in enumerate(depths):
        hit = np.flatnonzero(index == number)
        field: F32 = np.zeros(shape, dtype=np.float32)
        stamp(field, patches[hit], x_A[hit], y_A[hit], pixel_size_A)
        yield float(depth), field


def transfer(kx: Floats, ky: Floats, lens: Lens) -> Reals:
    """Transfer of phase contrast, CTF times damping, positive at low frequency under focus; without odd phases."""
    offset = amplitude_phase_rad(lens.amplitude_contrast) + np.radians(lens.phase_shift_deg)
    curve: Reals = -np.sin(even_phase(kx, ky, lens) - offset) * damping(kx, ky, lens)
    return curve


def generic_add_slab(total: C64, slab_ft: Complexes, kx: Reals, ky: Reals, lens: Lens) -> None:
    """Reference of the compiled loop :func:`add_slab`: ``total += slab_ft * transfer``."""
    total += (slab_ft * transfer(kx, ky, lens)).astype(np.complex64)


def add_slab(total: C64, slab_ft: C64, kx: Reals, ky: Reals, lens: Lens) -> None:
    """Add a slab's transform `(ny, nx//2+1)`, raw half layout, times :func:`transfer` to `total`."""
    module = native(np, "exposure")
    if module is None:
        generic_add_slab(total, slab_ft, kx, ky, lens)
        return
    envelope = lens.envelope or Envelope()
    aberrations = lens.aberrations
    extra = np.zeros((1, 1))
    if aberrations is not None and aberrations.changes_gamma:
        extra = np.ascontiguousarray(symmetric_phase(*true_frequencies(kx, ky, aberrations), aberrations))
    offset = amplitude_phase_rad(lens.amplitude_contrast) + np.radians(lens.phase_shift_deg)
    numbers = np.array(
        [
            wavelength_A(lens.voltage_kV),
            lens.cs_mm * 1e7,
            lens.defocus_u_A,
            lens.defocus_v_A,
            np.radians(lens.defocus_angle_deg),
            offset,
            lens.b_factor_A2,
            envelope.focal_spread_A,
            envelope.source_angle_mrad * 1e-3,
            aperture_1_A(lens),
        ]
    )
    matrix = np.asarray(_IDENTITY if aberrations is None else aberrations.magnification, dtype=np.float64)
    module.add_slab(total, slab_ft, np.ravel(kx), np.ravel(ky), matrix, extra, numbers)


def weak_phase_contrast(
    layers: Iterable[tuple[float, F32]], pixel_size_A: float, lens: Lens, *, n_threads: int = 1
) -> F32:
    """Contrast of a field made of slabs: I/I₀ − 1 = −2·γ_rel·λ·Σ_s F⁻¹[P_s·CTF(Δf + z_s)].

    Parameters
    ----------
    layers
        Depth [Å] and projected potential `(ny, nx)` [1/Å] of each slab, from :func:`slabs`.
    pixel_size_A
        Of the fields.
    lens
        Microscope; its defocus is that of depth 0.

    Returns
    -------
    `(ny, nx)` float32, negative where protein is, periodic at the borders.

    References
    ----------
    Kirkland, Advanced Computing in Electron Microscopy (2010), sec. 3.1; amplitude contrast: Erickson & Klug, Phil.
    Trans. R. Soc. B 261, 105 (1971), doi 10.1098/rstb.1971.0040.
    """
    total: C64 | None = None
    shape = (0, 0)
    kx = ky = np.zeros((1, 1))
    mean = np.complex64(0.0)
    for depth, field in layers:
        if total is None:
            shape = (field.shape[0], field.shape[1])
            total = np.zeros((shape[0], shape[1] // 2 + 1), dtype=np.complex64)
            kx, ky = frequency_axes_1_A(shape, pixel_size_A, centred_half=False)
        elif field.shape != shape:
            raise InvalidInput(f"slabs of shapes {shape} and {field.shape} were given", expected="one shape")
        ft = rfft2(field, n_threads=n_threads).astype(np.complex64)
        add_slab(total, ft, kx, ky, lens.at(depth))
        mean += ft[0, 0] * lens.amplitude_contrast
    if total is None:
        raise InvalidInput("no slab was given", expected="at least one", remedy="Give an empty field at depth 0.")
    # A phase plate turns the scattered wave; a uniform phase is not scattered.
    total[0, 0] = mean
    odd = odd_factor(kx, ky, lens)
    if odd is not None:
        total *= odd.astype(np.complex64)
    total *= np.float32(-2.0 * phase_per_potential_A(lens.voltage_kV))
    return irfft2(total, shape, n_threads=n_threads).astype(np.float32)


def expected_electrons(
    contrast: F32,
    dose_e_A2: float,
    pixel_size_A: float,
    *,
    thickness_A: npt.ArrayLike = 0.0,
    mean_free_path_A: float = np.inf,
    passed_loss_frac: float = 0.0,
    aperture_mean_free_path_A: float = np.inf,
    loss_contrast: F32 | None = None,
) -> F32:
    """Expected electrons of each pixel of one exposure, detector aside.

    Parameters
    ----------
    contrast
        `(ny, nx)`, I/I₀ − 1 of the electrons without energy loss.
    dose_e_A2
        On the specimen.
    thickness_A
        Of the ice along the beam, a number or `(ny, nx)`.
    mean_free_path_A, passed_loss_frac, aperture_mean_free_path_A
        As in :func:`cryoframe.numerics.ice.beam_fractions`; 0 lets no energy loss pass (slit), 1 all (no filter).
    loss_contrast
        `(ny, nx)` contrast of the electrons with energy loss, :func:`delocalised`; none where omitted.

    Returns
    -------
    `(ny, nx)` float32, never negative; its mean is dose·pixel²·(shares that pass)·(1 + mean contrast).
    """
    if not (dose_e_A2 >= 0.0 and pixel_size_A > 0.0):
        raise InvalidInput(
            f"a dose of {dose_e_A2} e/Å² on pixels of {pixel_size_A} Å was given", expected="a dose of 0 or more"
        )
    elastic, lossy = beam_fractions(
        thickness_A,
        mean_free_path_A,
        passed_loss_frac=passed_loss_frac,
        aperture_mean_free_path_A=aperture_mean_free_path_A,
    )
    incident = np.float32(dose_e_A2 * pixel_size_A**2)
    expected = incident * elastic.astype(np.float32) * (1.0 + contrast)
    if passed_loss_frac > 0.0:
        background = 1.0 if loss_contrast is None else 1.0 + loss_contrast
        expected = expected + incident * lossy.astype(np.float32) * background
    return np.maximum(expected, 0.0).astype(np.float32)


def delocalised(contrast: F32, pixel_size_A: float, *, sigma_A: float = 20.0) -> F32:
    """Contrast as electrons with energy loss carry it: blurred by a Gaussian of standard deviation `sigma_A`.

    Scattering by a 20 eV loss at 300 kV is delocalised over λ/(2π·θ_E) ≈ 80 Å, half of it within about 20 Å
    (Egerton, Micron 34, 127 (2003), doi 10.1016/S0968-4328(03)00023-4); chromatic defocus blurs further. The Gaussian
    is assumed.
    """
    kx, ky = frequency_axes_1_A(contrast.shape, pixel_size_A, centred_half=False)
    blur = np.exp(-2.0 * (np.pi * sigma_A) ** 2 * (kx * kx + ky * ky)).astype(np.float32)
    return irfft2(rfft2(contrast) * blur, contrast.shape).astype(np.float32)
