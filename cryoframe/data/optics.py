"""The microscope's settings and the camera's references. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Optics:
    """Settings shared by all images of one optics group."""

    voltage_kV: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast_frac: float = 0.1
    beam_tilt_x_mrad: float = 0.0
    beam_tilt_y_mrad: float = 0.0
    optics_group: str = "opticsGroup1"
    #: How the pixel size is known: nominal, calibrated or refined.
    pixel_size_source: str = "nominal"


@dataclass(frozen=True)
class GainReference:
    """Multiplicative gain of the camera, `(ny, nx)` float32, in the orientation of the movie's frames."""

    data: NDArray[np.float32]
    source: str = ""


@dataclass(frozen=True)
class DefectMap:
    """Pixels not to be used, `(ny, nx)` bool, true where defective, in the orientation of the movie's frames."""

    data: NDArray[np.bool_]
    source: str = ""
