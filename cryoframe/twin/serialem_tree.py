"""Files of a SerialEM session: frames in one folder, an mdoc beside each movie or one for all of them.

References
----------
SerialEM help, "Image Metadata Files": bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from cryoframe.errors import InvalidInput
from cryoframe.twin.shot import Shot

ENDINGS: Final = {"tiff": ".tif", "mrc": ".mrc", "eer": ".eer"}
#: Not by the machine's language.
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class SerialEmLayout:
    """SerialEM's files.

    Parameters
    ----------
    session_name
        What frame files are called, before number and date.
    first
        The session's first exposure: kind, date and camera decide the gain reference's name.
    folder
        Where frames go, below the session's folder.
    """

    session_name: str
    first: Shot
    folder: str = "frames"

    def __post_init__(self) -> None:
        if self.first.kind not in ENDINGS:
            raise InvalidInput(f"movies of kind {self.first.kind!r}", expected=f"one of {', '.join(ENDINGS)}")
        if any(character in self.session_name for character in "/\\\n\0"):
            raise InvalidInput(f"session name {self.session_name!r}", expected="a name without slashes or newlines")

    #: An mdoc is written after the last frame.
    side_cars_last: bool = True

    @property
    def movie_pattern(self) -> str:
        """Pattern for the ``[watch]`` section that matches the movies and nothing else."""
        return f"{self.session_name}_*_*{ENDINGS[self.first.kind]}"

    def session_files(self, shots: Sequence[Shot]) -> Mapping[PurePosixPath, bytes]:
        """Return nothing: SerialEM leaves no file before the first exposure."""
        return {}

    def movie_path(self, shot: Shot) -> PurePosixPath:
        """Return where the movie lands: number from 0, date and time in the name, as SerialEM can be told to do."""
        stamp = f"{MONTHS[shot.time_utc.month - 1]}{shot.time_utc:%d_%H.%M.%S}"
        return PurePosixPath(self.folder, f"{self.session_name}_{shot.number - 1:05d}_{stamp}{ENDINGS[shot.kind]}")

    def side_cars(self, shot: Shot) -> Mapping[PurePosixPath, bytes]:
        """Return the movie's mdoc."""
        path = self.movie_path(shot)
        return {path.with_name(f"{path.name}.mdoc"): self._mdoc(shot)}

    def gain_path(self) -> PurePosixPath:
        """Return where the gain reference lies: among the frames, SerialEM copies it there."""
        kind = "SuperRef" if self.first.super_resolution > 1 else "CountRef"
        time = self.first.time_utc
        stamp = f"{MONTHS[time.month - 1]}{time:%d_%H.%M.%S}"
        ending = ".gain" if self.first.kind == "eer" else ".mrc"
        return PurePosixPath(self.folder, f"{kind}_{self.session_name}_00000_{stamp}{ending}")

    def defects_path(self) -> PurePosixPath:
        """Return where the camera's list of defects lies: among the frames, as mdocs name it."""
        return PurePosixPath(self.folder, f"defects_{self.session_name}.txt")

    def _mdoc(self, shot: Shot) -> bytes:
        lines = [
            f"T = SerialEM: cryoframe twin, {shot.camera}  {_clock(shot.time_utc)}",
            f"Voltage = {_text(shot.voltage_kV)}",
            "",
            "[FrameSet = 0]",
            *(f"{key} = {value}" for key, value in self._entries(shot).items()),
            "",
        ]
        return "\r\n".join(lines).encode()

    def _entries(self, shot: Shot) -> dict[str, str]:
        path = self.movie_path(shot)
        saved_A = shot.pixel_size_A / shot.super_resolution
        rows, columns = shot.shape_px
        entries = {
            "TiltAngle": _text(shot.stage_tilt_deg),
            "StagePosition": f"{_text(shot.stage_um[0])} {_text(shot.stage_um[1])}",
            "StageZ": _text(shot.stage_um[2]),
            "Magnification": str(shot.magnification),
            "ExposureDose": _text(shot.dose_e_A2),
            "DoseRate": _text(shot.dose_e_A2 * shot.pixel_size_A**2 / shot.exposure_s),
            "PixelSpacing": _text(saved_A),
            "Defocus": _text(-shot.nominal_defocus_A * 1e-4),
            "ImageShift": f"{_text(shot.image_shift_um[0])} {_text(shot.image_shift_um[1])}",
            "RotationAngle": "0",
            "ExposureTime": _text(shot.exposure_s),
            "Binning": _text(1 / shot.super_resolution),
            "CameraIndex": "1",
            "DividedBy2": "0",
            "OperatingMode": "1",
            "CountsPerElectron": "1",
            "TargetDefocus": _text(-shot.nominal_defocus_A * 1e-4),
            "SubFramePath": f"X:\\{self.session_name}\\" + str(path).replace("/", "\\"),
            **_frames(shot),
            "DateTime": _clock(shot.time_utc),
            "MultishotHoleAndPosition": f"{shot.foil_hole} {shot.place_in_hole}",
            "UncroppedSize": f"-{columns} -{rows}",
            "GainReference": self.gain_path().name,
        }
        entries["DefectFile"] = self.defects_path().name
        if shot.slit_eV:
            entries["FilterSlitAndLoss"] = f"{_text(shot.slit_eV)} 0"
        if shot.phase_plate:
            entries["PhasePlateInserted"] = "True"
        return entries


def _frames(shot: Shot) -> dict[str, str]:
    """Return number and dose of the frames; events of an EER file become frames only when they are read."""
    if shot.kind == "eer":
        return {}
    dose_e_A2 = _text(shot.dose_e_A2 / shot.n_frames)
    return {"NumSubFrames": str(shot.n_frames), "FrameDosesAndNumber": f"{dose_e_A2} {shot.n_frames}"}


def _clock(time: datetime) -> str:
    """Return day and time as SerialEM writes them: ``08-Oct-21  07:39:08``."""
    return f"{time:%d}-{MONTHS[time.month - 1]}-{time:%y}  {time:%H:%M:%S}"


def _text(value: float) -> str:
    """Return a number with the six digits of C's ``%g``, as SerialEM does."""
    return f"{value:.6g}"
