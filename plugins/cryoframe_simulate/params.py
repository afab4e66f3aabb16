"""What may be set of the simulated microscope, camera and specimen; presets are in ``microscopes`` and numerics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cryoframe.errors import InvalidInput
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.camera_presets import cameras
from cryoframe_simulate.microscopes import microscope_named, microscopes

#: Optics that presets state; negative = as the preset.
_OPTICS = {
    "voltage_kV": (-1.0, 1000.0),
    "cs_mm": (-1.0, 100.0),
    "cc_mm": (-1.0, 100.0),
    "energy_fwhm_eV": (-1.0, 10.0),
    "source_angle_mrad": (-1.0, 10.0),
    "aperture_mrad": (-1.0, 1000.0),
    "slit_eV": (-1.0, 1000.0),
    "amplitude_contrast_frac": (0.0, 0.5),
    "trefoil_x_rad_A3": (-1e4, 1e4),
    "trefoil_y_rad_A3": (-1e4, 1e4),
    "tetrafoil_x_rad_A4": (-1e4, 1e4),
    "tetrafoil_y_rad_A4": (-1e4, 1e4),
    "magnification_anisotropy_frac": (0.0, 0.1),
    "magnification_angle_deg": (-360.0, 360.0),
}
_SPECIMEN = {
    "temperature_K": (1.0, 200.0),
    "support_thickness_A": (0.0, 5000.0),
    "ethane_frac": (0.0, 1.0),
    "ethane_height_A": (0.0, 10000.0),
    "b_factor_A2": (0.0, 2000.0),
    "slice_A": (0.5, 1000.0),
}
_MOTION = {
    "drift_A_s": (-1.0, 1000.0),
    "whole_early_A": (0.0, 1000.0),
    "local_early_A": (0.0, 1000.0),
    "local_steady_A": (0.0, 1000.0),
    "early_e_A2": (0.01, 1000.0),
    "correlation_A": (10.0, 1e6),
    "motion_spread": (0.0, 3.0),
    "jitter_A": (0.0, 100.0),
    "dome_A": (0.0, 5000.0),
}
_CAMERA = {
    "camera_seed": (0, 2**63 - 1),
    "super_resolution": (0, 2),
    "frame_rate_1_s": (-1.0, 1e5),
    "gain_sd_frac": (0.0, 0.2),
    "n_dead_px": (0, 10**6),
    "n_dead_columns": (0, 1000),
    "n_hot_px": (0, 10**6),
    "hot_counts": (0.0, 10000.0),
    "pedestal_grey": (0.0, 10000.0),
    "pedestal_drift_grey": (0.0, 1000.0),
    "grid_A": (10.0, 1e5),
    "n_motion_places": (1, 50),
}


@dataclass(frozen=True)
class Params:
    """What may be set. Switches take an effect out; numbers that presets state take them over where not negative."""

    #: krios_g3, krios_g4, krios_g5, krios_g5_cc, glacios_200 or talos_200
    microscope: str = "krios_g4"
    #: k2, k2_super, k3, k3_super, falcon_3, falcon_4i or integrating_ccd
    camera: str = "k3"
    #: gain and defects of the session's camera are drawn from this, not from the exposure
    camera_seed: int = 0

    voltage_kV: float = -1.0  #: acceleration voltage; negative = as the microscope
    cs_mm: float = -1.0  #: spherical aberration; negative = as the microscope
    cc_mm: float = -1.0  #: chromatic aberration; negative = as the microscope
    energy_fwhm_eV: float = -1.0  #: width of the source's energies in eV; negative = as the microscope
    source_angle_mrad: float = -1.0  #: half angle of illumination; negative = as the microscope
    aperture_mrad: float = -1.0  #: half angle of the objective aperture; 0 = none; negative = as the microscope
    slit_eV: float = -1.0  #: width of the energy slit in eV; 0 = no filter; negative = as the microscope
    amplitude_contrast_frac: float = 0.1  #: share of amplitude contrast in the specimen's contrast
    trefoil_x_rad_A3: float = 0.0  #: trefoil, cosine part [rad·Å³]
    trefoil_y_rad_A3: float = 0.0  #: trefoil, sine part [rad·Å³]
    tetrafoil_x_rad_A4: float = 0.0  #: tetrafoil, cosine part [rad·Å⁴]
    tetrafoil_y_rad_A4: float = 0.0  #: tetrafoil, sine part [rad·Å⁴]
    magnification_anisotropy_frac: float = 0.0  #: how much larger the larger magnification is than the smaller
    magnification_angle_deg: float = 0.0  #: direction of the larger magnification, x axis towards y axis
    coherence: bool = True  #: partial coherence of source and lens dampens high frequencies
    inelastic: bool = True  #: ice and carbon take electrons by energy loss; slit or filterless background follow
    multislice: bool = False  #: propagate the wave slice by slice instead of weak phases; slow, for thick specimens
    slice_A: float = 20.0  #: thickness of a slice, with multislice

    ice_noise: bool = True  #: random potential of the amorphous ice
    ice_motion: bool = True  #: its molecules move under the beam, so that ice differs from frame to frame
    support: bool = True  #: carbon film outside the hole
    support_thickness_A: float = 150.0  #: thickness of the carbon film
    ethane_frac: float = 0.0  #: share of the field on which crystals of frozen ethane lie
    ethane_height_A: float = 300.0  #: their greatest thickness
    #: free, none (particles do not touch) or none_in_projection (none hides another)
    overlap: Literal["free", "none", "none_in_projection"] = "none"
    b_factor_A2: float = 0.0  #: further decay of the contrast, exp(−B·k²/4)

    damage: bool = True  #: signal fades with the exposure, by frequency
    site_damage: bool = True  #: what specimens name as fading first fades first
    temperature_K: float = 80.0  #: of the specimen, in kelvin; slows the damage below 80

    motion: bool = True  #: drift and beam-induced motion of the specimen
    blur: bool = True  #: motion within a frame
    doming: bool = True  #: the film's middle changes height
    drift_A_s: float = -1.0  #: speed of the stage in Å per s; negative = as the microscope
    whole_early_A: float = 2.5  #: distance the whole field moves early
    local_early_A: float = 3.5  #: RMS of the early motion that differs from place to place
    local_steady_A: float = 2.5  #: RMS of the steady motion that differs from place to place, per 30 e/Å²
    early_e_A2: float = 5.0  #: exposure after which 1/e of the early motion is left
    correlation_A: float = 2500.0  #: length over which local motion is correlated
    motion_spread: float = 0.35  #: standard deviation of the logarithm of amplitudes from exposure to exposure
    jitter_A: float = 0.11  #: RMS displacement of each frame along an axis, independent of the others
    dome_A: float = 50.0  #: RMS change of height of the film's middle

    shot_noise: bool = True  #: electrons are counted at random; without, frames are expected electrons (float32)
    coincidence: bool = True  #: electrons that meet in an internal frame of the camera count once
    spread: bool = True  #: the camera's MTF: electrons spread in the sensor
    gain: bool = True  #: pixels differ in sensitivity
    defects: bool = True  #: dead pixels and columns
    hot_pixels: bool = True  #: pixels that give counts of their own
    pedestal: bool = True  #: an integrating camera's dark level and its drift
    super_resolution: int = 0  #: pixels written to one of the sensor along an axis, 1 or 2; 0 = as the camera
    frame_rate_1_s: float = -1.0  #: internal frames of the camera per second [1/s]; negative = as the camera
    gain_sd_frac: float = 0.02  #: standard deviation of the sensitivity of pixels
    n_dead_px: int = 50  #: single dead pixels
    n_dead_columns: int = 1  #: dead columns
    n_hot_px: int = 20  #: hot pixels
    hot_counts: float = 20.0  #: mean counts [events] of a hot pixel in a frame
    pedestal_grey: float = 100.0  #: dark level of an integrating camera in grey values [grey]
    pedestal_drift_grey: float = 0.2  #: standard deviation of its change from frame to frame [grey]

    grid_A: float = 200.0  #: edge of the squares of the truth's maps
    n_motion_places: int = 5  #: places along each axis at which the truth states the motion

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        check_bounds(self, **_OPTICS, **_SPECIMEN, **_MOTION, **_CAMERA)
        if self.overlap not in ("free", "none", "none_in_projection"):
            raise InvalidInput(f"overlap {self.overlap!r} was set", expected="free, none or none_in_projection")

    @property
    def slit_width_eV(self) -> float:
        """Width of the energy slit as it stands; 0 = no filter. Side-cars state it."""
        return self.slit_eV if self.slit_eV >= 0.0 else microscope_named(self.microscope).slit_eV

    @staticmethod
    def presets() -> dict[str, dict[str, str]]:
        """Return what may be named, by the parameter that names it, each with a line for people who choose."""
        return {
            "microscope": {
                one.name: f"{one.voltage_kV:g} kV, Cs {one.cs_mm:g} mm, source of {one.energy_fwhm_eV:g} eV, "
                + (f"energy slit of {one.slit_eV:g} eV" if one.slit_eV else "no energy filter")
                for one in microscopes().values()
            },
            "camera": {
                one.name: f"{one.n_columns} × {one.n_rows} pixels, "
                + (f"counts at {one.frame_rate_1_s:g} frames/s" if one.counting else "integrates")
                + (", super-resolution" if one.super_resolution == 2 else "")
                for one in cameras().values()
            },
        }
