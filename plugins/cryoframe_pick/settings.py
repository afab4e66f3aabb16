"""What both pickers need to know of a micrograph's optics; checks both make."""

from __future__ import annotations

from cryoframe import CtfFit, Micrograph
from cryoframe.errors import InvalidInput
from cryoframe.numerics import spectrum
from cryoframe.numerics.matched_filter import Transfer


def transfer_of(micrograph: Micrograph, ctf: CtfFit) -> Transfer:
    """The CTF of a micrograph, astigmatism left out."""
    optics = micrograph.optics
    return Transfer(
        voltage_kV=optics.voltage_kV,
        cs_mm=optics.cs_mm,
        amplitude_contrast=optics.amplitude_contrast_frac,
        defocus_A=0.5 * (ctf.defocus_u_A + ctf.defocus_v_A),
        phase_shift_deg=ctf.phase_shift_deg,
    )


def check(micrograph: Micrograph, diameter_A: float) -> None:
    """Refuse images without content, and particles that do not suit the image.

    Raises
    ------
    InvalidInput
        For what cannot be searched.
    """
    spectrum.check_image(micrograph.data, smallest_px=8)
    ny, nx = micrograph.shape_px
    pixel_A = micrograph.pixel_size_A
    if not 4.0 * pixel_A <= diameter_A <= 0.5 * min(ny, nx) * pixel_A:
        raise InvalidInput(
            f"a particle of {diameter_A} Å in {nx} × {ny} pixels of {pixel_A} Å was asked for",
            expected="at least 4 pixels and at most half the micrograph",
            remedy="Set diameter_A of the picker, and pixel_size_A of the micrographs.",
        )
