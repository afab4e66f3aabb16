"""What may be set of both pickers, what they need to know of a micrograph's optics, and checks both make."""

from __future__ import annotations

from dataclasses import dataclass

from cryoframe import CtfFit, Micrograph
from cryoframe.errors import InvalidInput
from cryoframe.numerics import spectrum
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.matched_filter import Transfer
from cryoframe.numerics.pick_choice import DISTANCE_DIAMETERS


@dataclass(frozen=True)
class Settings:
    """How far picks lie apart, and what is left out."""

    diameter_A: float = 150.0  #: longest diameter of the particle
    min_distance_A: float = 0.0  #: least distance of two picks; 0 = 0.6 diameters
    false_frac: float = 0.5  #: raise the threshold until peaks of the wrong contrast are this fraction of the picks
    junk_sd: float = 5.0  #: leave out areas further from the median grey than this many standard deviations
    use_ctf: bool = True  #: look for the particle as this CTF images it

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(
            self,
            diameter_A=(5.0, 20000.0),
            min_distance_A=(0.0, 100000.0),
            false_frac=(0.0, 1.0),
            junk_sd=(0.5, 1000.0),
        )

    @property
    def least_distance_A(self) -> float:
        """Distance that two picks of a micrograph are held to, by the kernel as well."""
        return self.min_distance_A or DISTANCE_DIAMETERS * self.diameter_A


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
    spectrum.check_recording(micrograph.data, micrograph.pixel_size_A, smallest_px=8)
    ny, nx = micrograph.shape_px
    pixel_A = micrograph.pixel_size_A
    if not 4.0 * pixel_A <= diameter_A <= 0.5 * min(ny, nx) * pixel_A:
        raise InvalidInput(
            f"a particle of {diameter_A} Å in {nx} × {ny} pixels of {pixel_A} Å was asked for",
            expected="at least 4 pixels and at most half the micrograph",
            remedy="Set diameter_A of the picker, and pixel_size_A of the micrographs.",
        )
