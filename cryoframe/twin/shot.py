"""One exposure as the acquisition software knows and states it; what is true of it is ``data.twin.Exposure``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Protocol


@dataclass(frozen=True)
class Shot:
    """What names and side-cars of one exposure say. Stated values: a fault may make them differ from the truth."""

    exposure_id: str
    #: From 1, in the order of acquisition.
    number: int
    time_utc: datetime
    grid_square: int
    foil_hole: int
    #: Which of the exposures of its hole, from 0; each has an image shift of its own.
    place_in_hole: int
    image_shift_um: tuple[float, float]
    beam_tilt_mrad: tuple[float, float]
    stage_um: tuple[float, float, float]
    stage_tilt_deg: float
    nominal_defocus_A: float
    pixel_size_A: float
    dose_e_A2: float
    n_frames: int
    exposure_s: float
    shape_px: tuple[int, int]
    voltage_kV: float
    magnification: int
    camera: str
    #: ``tiff``, ``mrc`` or ``eer``.
    kind: str
    slit_eV: float = 10.0
    super_resolution: int = 1
    phase_plate: bool = False


class Layout(Protocol):
    """Names and side-cars as one acquisition program makes them; paths are relative to the session's folder."""

    @property
    def side_cars_last(self) -> bool:
        """Whether side-cars are written after the movie; else when it begins to be written."""

    @property
    def movie_pattern(self) -> str:
        """Pattern that matches the movies' names and nothing else's."""

    def session_files(self, shots: Sequence[Shot]) -> Mapping[PurePosixPath, bytes]:
        """Return files that are there from the beginning."""

    def movie_path(self, shot: Shot) -> PurePosixPath:
        """Return where the movie lands."""

    def side_cars(self, shot: Shot) -> Mapping[PurePosixPath, bytes]:
        """Return the files that go with the movie."""

    def gain_path(self) -> PurePosixPath:
        """Return where the gain reference lies."""

    def defects_path(self) -> PurePosixPath:
        """Return where the camera's defects lie, as a map or a list."""
