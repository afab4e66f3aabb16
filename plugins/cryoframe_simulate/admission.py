"""What an exposure is refused for before any work is done; the scene's own checks are in ``numerics.scene_checks``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from cryoframe import Exposure, Specimen
from cryoframe.errors import InvalidInput
from cryoframe.numerics.bounds import check_bounds
from cryoframe.numerics.camera_presets import Camera

_BOUNDS = {
    "pixel_size_A": (0.05, 50.0),
    "n_frames": (1, 10000),
    "dose_per_frame_e_A2": (1e-6, 100.0),
    "frame_time_s": (1e-5, 1000.0),
    "defocus_u_A": (-200000.0, 200000.0),
    "defocus_v_A": (-200000.0, 200000.0),
    "defocus_angle_deg": (-360.0, 360.0),
    "phase_shift_deg": (-180.0, 180.0),
    "beam_tilt_x_mrad": (-100.0, 100.0),
    "beam_tilt_y_mrad": (-100.0, 100.0),
    "stage_tilt_deg": (-75.0, 75.0),
    "stage_tilt_axis_deg": (-360.0, 360.0),
    "ice_thickness_A": (0.0, 10000.0),
    "ice_rim_extra_A": (-10000.0, 10000.0),
    "hole_radius_A": (1.0, 1e7),
    "concentration_factor": (0.0, 1e6),
}
_TROUBLE_BOUNDS = {
    "stage_jump_A": (0.0, 1e5),
    "defocus_drift_A": (-1e5, 1e5),
    "charging_A3_e": (-1000.0, 1000.0),
    "crystalline_ice_frac": (0.0, 1.0),
    "dose_factor": (1e-3, 1000.0),
}
_SPECIMEN_BOUNDS = {
    "mass_kDa": (1e-3, 1e7),
    "radius_A": (0.0, 1e5),
    "concentration_mg_mL": (0.0, 1e4),
    "surface_frac": (0.0, 1.0),
    "conformation": (0.0, 1.0),
}
#: No specimen outlives more.
_MOST_DOSE_E_A2 = 1000.0
#: Detected electrons a pixel and internal frame beyond which a counting camera counts next to nothing.
_MOST_RATE = 1.0
#: Pixels of specimen and exposure may differ by as much in a box without leaving it by a tenth of a pixel.
_PIXEL_TOLERANCE_FRAC = 2e-4


def admit(specimens: Sequence[Specimen], exposure: Exposure, camera: Camera) -> None:
    """Refuse what cannot be simulated.

    Raises
    ------
    InvalidInput
        Saying what is wrong, what was expected and what to do.
    """
    _check_exposure(exposure, camera)
    if not specimens and not exposure.trouble.empty_hole and exposure.concentration_factor > 0.0:
        raise InvalidInput(
            f"exposure '{exposure.exposure_id}' has no specimen",
            expected="at least one",
            remedy="Give one, or ask for an empty hole or a concentration_factor of 0.",
        )
    for specimen in specimens:
        _check_specimen(specimen, exposure)


def _check_exposure(exposure: Exposure, camera: Camera) -> None:
    check_bounds(exposure, **_BOUNDS)
    check_bounds(exposure.trouble, **_TROUBLE_BOUNDS)
    for pair in (exposure.ice_ramp, exposure.hole_offset_A):
        if len(pair) != 2 or not all(np.isfinite(pair)):
            raise InvalidInput(f"ice_ramp or hole_offset_A is {pair}", expected="two finite numbers")
    if not exposure.exposure_id:
        raise InvalidInput("an exposure has no name", expected="exposure_id, which its random numbers are drawn by")
    if not exposure.defocus_u_A >= exposure.defocus_v_A:
        raise InvalidInput(
            f"defocus_u_A = {exposure.defocus_u_A} is below defocus_v_A = {exposure.defocus_v_A}",
            expected="u of at least v",
            remedy="Exchange them and turn defocus_angle_deg by 90.",
        )
    dose_e_A2 = exposure.n_frames * exposure.dose_per_frame_e_A2 * exposure.trouble.dose_factor
    if dose_e_A2 > _MOST_DOSE_E_A2:
        raise InvalidInput(
            f"{exposure.n_frames} frames of {exposure.dose_per_frame_e_A2} e/Å² make {dose_e_A2:g} e/Å²",
            expected=f"at most {_MOST_DOSE_E_A2:g} e/Å²; 30 to 60 are usual",
            remedy="State the dose for each frame and Å², not for the pixel or the movie.",
        )
    _check_sensor(exposure, camera)


def _check_sensor(exposure: Exposure, camera: Camera) -> None:
    ny, nx = exposure.shape_px
    if not (16 <= ny <= camera.n_rows and 16 <= nx <= camera.n_columns):
        raise InvalidInput(
            f"a frame of {ny} × {nx} pixels was asked for from camera {camera.name}",
            expected=f"16 to {camera.n_rows} × 16 to {camera.n_columns}; super-resolution comes on top",
        )
    _check_rate(exposure, camera)
    trouble = exposure.trouble
    if not 0 <= trouble.stage_jump_frame < exposure.n_frames:
        raise InvalidInput(
            f"a stage jump at frame {trouble.stage_jump_frame} was asked for", expected=f"0 to {exposure.n_frames - 1}"
        )
    row, column, rows, columns = trouble.dead_block_px
    if min(trouble.dead_block_px) < 0 or row + rows > ny or column + columns > nx:
        raise InvalidInput(f"a dead block {trouble.dead_block_px} was asked for", expected=f"one inside {ny} × {nx}")


def _check_rate(exposure: Exposure, camera: Camera) -> None:
    if camera.counting and not detected_rate(exposure, camera) <= _MOST_RATE:
        rate = detected_rate(exposure, camera)
        raise InvalidInput(
            f"{rate:.3g} electrons would be detected in a pixel and internal frame of camera {camera.name}",
            expected=f"at most {_MOST_RATE:g}; beyond, it counts next to nothing",
            remedy="Give a lower dose, smaller pixels or longer frames.",
        )


def detected_rate(exposure: Exposure, camera: Camera) -> float:
    """Electrons detected in a pixel and internal frame, nothing lost in the ice."""
    dose_e_A2 = exposure.dose_per_frame_e_A2 * exposure.trouble.dose_factor
    n_internal = max(1.0, exposure.frame_time_s * camera.frame_rate_1_s)
    return dose_e_A2 * exposure.pixel_size_A**2 * camera.detection_frac / n_internal


def _check_specimen(specimen: Specimen, exposure: Exposure) -> None:
    check_bounds(specimen, **_SPECIMEN_BOUNDS)
    if not specimen.name or not specimen.views:
        raise InvalidInput(f"a specimen is named {specimen.name!r} and has {len(specimen.views)} views",
                           expected="a name and at least one view")  # fmt: skip
    for peak in specimen.views:
        if not all(np.isfinite(getattr(peak, item.name)) for item in fields(peak)) or min(peak.weight, peak.kappa) < 0:
            raise InvalidInput(f"specimen '{specimen.name}' has {peak}", expected="finite numbers, none below 0")
    for volume in (specimen.volume, *(part.volume for part in specimen.fading)):
        shape = volume.data.shape
        if volume.data.ndim != 3 or len(set(shape)) != 1 or shape[0] % 2 or shape != specimen.volume.data.shape:
            raise InvalidInput(
                f"a volume of specimen '{specimen.name}' has shape {shape}",
                expected="a cube of even side, the same for all its parts",
            )
        if not abs(volume.pixel_size_A / exposure.pixel_size_A - 1.0) <= _PIXEL_TOLERANCE_FRAC:
            raise InvalidInput(
                f"specimen '{specimen.name}' has pixels of {volume.pixel_size_A} Å, the exposure of"
                f" {exposure.pixel_size_A} Å",
                expected="the same",
                remedy=f"Open it with pixel_size_A = {exposure.pixel_size_A}.",
            )
        if not np.isfinite(volume.data).all():
            raise InvalidInput(f"specimen '{specimen.name}' has voxels that are not finite", expected="numbers [1/Å²]")
