"""Which RELION column is which cryoframe column, with type and scale; declared as data, applied in ``star_columns``.

Source of every meaning: RELION's metadata label definitions (``relion_refine --print_metadata_labels``).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Kind = Literal["float", "score", "int", "text"]
Scale = Literal["", "micrograph_pixel", "image_pixel", "movie_pixel"]


@dataclass(frozen=True, slots=True)
class StarColumn:
    """One RELION column.

    Parameters
    ----------
    label
        RELION's name, without the underscore.
    name
        The name here.
    kind
        ``score`` is a float that may be NaN or infinite.
    scale
        The pixel size a value in pixels is multiplied with.
    offset
        Added when reading (RELION counts classes from 1).
    """

    label: str
    name: str
    kind: Kind = "float"
    scale: Scale = ""
    offset: int = 0


ROW_COLUMNS: Final = (
    StarColumn("rlnMicrographName", "micrograph_name", "text"),
    StarColumn("rlnMicrographMovieName", "movie_name", "text"),
    StarColumn("rlnMicrographMetadata", "motion_star", "text"),
    StarColumn("rlnMicrographCoordinates", "coordinates_star", "text"),
    StarColumn("rlnCtfPowerSpectrum", "power_spectrum", "text"),
    StarColumn("rlnCtfImage", "ctf_image", "text"),
    StarColumn("rlnCoordinateX", "x_A", "float", "micrograph_pixel"),
    StarColumn("rlnCoordinateY", "y_A", "float", "micrograph_pixel"),
    StarColumn("rlnAutopickFigureOfMerit", "figure_of_merit", "score"),
    StarColumn("rlnDefocusU", "defocus_u_A"),
    StarColumn("rlnDefocusV", "defocus_v_A"),
    StarColumn("rlnDefocusAngle", "defocus_angle_deg"),
    StarColumn("rlnPhaseShift", "phase_shift_deg"),
    StarColumn("rlnCtfMaxResolution", "fit_resolution_A", "score"),
    StarColumn("rlnCtfFigureOfMerit", "ctf_score", "score"),
    StarColumn("rlnCtfBfactor", "ctf_b_factor_A2"),
    StarColumn("rlnCtfScalefactor", "ctf_scale"),
    StarColumn("rlnAngleRot", "rot_deg"),
    StarColumn("rlnAngleTilt", "tilt_deg"),
    StarColumn("rlnAnglePsi", "psi_deg"),
    StarColumn("rlnOriginXAngst", "shift_x_A"),
    StarColumn("rlnOriginYAngst", "shift_y_A"),
    StarColumn("rlnOriginX", "shift_x_A", "float", "image_pixel"),
    StarColumn("rlnOriginY", "shift_y_A", "float", "image_pixel"),
    StarColumn("rlnMaxValueProbDistribution", "pose_score", "score"),
    StarColumn("rlnRandomSubset", "half", "int"),
    StarColumn("rlnClassNumber", "class_id", "int", "", -1),
    StarColumn("rlnAccumMotionTotal", "motion_total_A", "score"),
    StarColumn("rlnAccumMotionEarly", "motion_early_A", "score"),
    StarColumn("rlnAccumMotionLate", "motion_late_A", "score"),
)
"""Where two RELION columns have one name here, the first present is taken; columns not listed stay text."""

OPTICS_COLUMNS: Final = (
    StarColumn("rlnOpticsGroupName", "optics_group", "text"),
    StarColumn("rlnOpticsGroup", "number", "int"),
    StarColumn("rlnMtfFileName", "mtf_file", "text"),
    StarColumn("rlnMicrographOriginalPixelSize", "movie_pixel_size_A"),
    StarColumn("rlnVoltage", "voltage_kV"),
    StarColumn("rlnSphericalAberration", "cs_mm"),
    StarColumn("rlnAmplitudeContrast", "amplitude_contrast_frac"),
    StarColumn("rlnMicrographPixelSize", "micrograph_pixel_size_A"),
    StarColumn("rlnImagePixelSize", "pixel_size_A"),
    StarColumn("rlnImageSize", "box_px", "int"),
    StarColumn("rlnImageDimensionality", "n_dimensions", "int"),
    StarColumn("rlnCtfDataAreCtfPremultiplied", "ctf_premultiplied", "int"),
    StarColumn("rlnBeamTiltX", "beam_tilt_x_mrad"),
    StarColumn("rlnBeamTiltY", "beam_tilt_y_mrad"),
    StarColumn("rlnOddZernike", "odd_zernike_rad", "text"),
    StarColumn("rlnEvenZernike", "even_zernike_rad", "text"),
    StarColumn("rlnMagMat00", "mag_matrix_00"),
    StarColumn("rlnMagMat01", "mag_matrix_01"),
    StarColumn("rlnMagMat10", "mag_matrix_10"),
    StarColumn("rlnMagMat11", "mag_matrix_11"),
)
"""Zernike coefficients are kept as RELION writes them, ``[a,b,c]``; ``star_columns.zernike`` reads the numbers."""

ROW_OPTICS: Final = MappingProxyType(
    {
        "rlnVoltage": "voltage_kV",
        "rlnSphericalAberration": "cs_mm",
        "rlnAmplitudeContrast": "amplitude_contrast_frac",
        "rlnBeamTiltX": "beam_tilt_x_mrad",
        "rlnBeamTiltY": "beam_tilt_y_mrad",
    }
)
"""Up to RELION 3.0 these stand in each row; rows with equal values become one optics group."""
