"""Folders and names of an EPU session; what its XML says is ``epu_xml``.

Names are those of real sessions of EPU 2.6 to 3.9: movies ``_fractions.tiff`` (K3), ``_Fractions.mrc`` (Falcon 3),
``_EER.eer`` (Falcon 4i). The exposure's XML has the name without that ending; Falcon 3 movies have one of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Final

from cryoframe.errors import InvalidInput
from cryoframe.twin.epu_session import session_dm
from cryoframe.twin.epu_xml import HOLE, SQUARE, Sight, image_xml
from cryoframe.twin.shot import Shot

ENDINGS: Final = {"tiff": "_fractions.tiff", "mrc": "_Fractions.mrc", "eer": "_EER.eer"}
#: Of the first exposure in a hole; the others follow in steps, the same in every hole, as EPU numbers its template.
TEMPLATE: Final = 9017347
TEMPLATE_STEP: Final = 7
#: EPU numbers all it finds in one series, beyond a million; small numbers are lifted to there.
_MILLION: Final = 1_000_000
_FIRST_SQUARE, _FIRST_HOLE = 8_999_000, 9_015_000
_SQUARE_BEFORE, _HOLE_BEFORE = timedelta(seconds=300), timedelta(seconds=20)


@dataclass(frozen=True)
class EpuLayout:
    """EPU's tree.

    Parameters
    ----------
    session_name
        Name of the session.
    first
        Its first exposure: kind and date decide what the gain reference is called.
    """

    session_name: str
    first: Shot

    def __post_init__(self) -> None:
        if self.first.kind not in ENDINGS:
            raise InvalidInput(f"movies of kind {self.first.kind!r}", expected=f"one of {', '.join(ENDINGS)}")

    @property
    def movie_pattern(self) -> str:
        """Pattern for the ``[watch]`` section that matches the movies and nothing else."""
        return f"*{ENDINGS[self.first.kind]}"

    #: EPU describes an exposure when it is taken; the movie may still be on its way.
    side_cars_last: bool = False

    def session_files(self, shots: Sequence[Shot]) -> Mapping[PurePosixPath, bytes]:
        """Return ``EpuSession.dm`` and the overviews' XML of each grid square."""
        if not shots:
            raise InvalidInput("a session without exposures", expected="one at least")
        files = {PurePosixPath("EpuSession.dm"): session_dm(self.session_name, shots)}
        first_of: dict[int, Shot] = {}
        for shot in shots:
            first_of.setdefault(shot.grid_square, shot)
        for shot in first_of.values():
            path, seen = self._overview(shot, "GridSquare", _SQUARE_BEFORE)
            files[path] = image_xml(seen, SQUARE, name=str(path), session=self.session_name)
        return files

    def movie_path(self, shot: Shot) -> PurePosixPath:
        """Return where the movie lands."""
        return self._square(shot) / "Data" / f"{exposure_name(shot)}{ENDINGS[shot.kind]}"

    def side_cars(self, shot: Shot) -> Mapping[PurePosixPath, bytes]:
        """Return the XML of the exposure and, with the first exposure of a hole, that of the hole's overview."""
        path = self._square(shot) / "Data" / f"{exposure_name(shot)}.xml"
        content = image_xml(shot, Sight.exposure(shot), name=path.stem, session=self.session_name)
        files = {path: content}
        if shot.kind == "mrc":
            files[self.movie_path(shot).with_suffix(".xml")] = content
        if shot.place_in_hole == 0:
            hole, seen = self._overview(shot, f"FoilHoles/{_hole(shot)}", _HOLE_BEFORE)
            files[hole] = image_xml(seen, HOLE, name=str(hole), session=self.session_name)
        return files

    def gain_path(self) -> PurePosixPath:
        """Return where the gain reference lies: beside the session's file, where EPU or people put it."""
        if self.first.kind == "eer":
            return PurePosixPath(f"{_stamp(self.first)}_EER_GainReference.gain")
        ending = "-gain-ref.MRC" if self.first.kind == "mrc" else "_gain.tiff"
        return PurePosixPath(f"{exposure_name(self.first)}{ending}")

    def defects_path(self) -> PurePosixPath:
        """Return where the map of defects lies: beside the gain reference."""
        if self.first.kind == "eer":
            return PurePosixPath(f"{_stamp(self.first)}_EER_Defects.mrc")
        ending = "-defects.MRC" if self.first.kind == "mrc" else "_defects.tiff"
        return PurePosixPath(f"{exposure_name(self.first)}{ending}")

    def _square(self, shot: Shot) -> PurePosixPath:
        return PurePosixPath("Images-Disc1", f"GridSquare_{_lifted(shot.grid_square, _FIRST_SQUARE)}")

    def _overview(self, shot: Shot, name: str, before: timedelta) -> tuple[PurePosixPath, Shot]:
        seen = replace(
            shot, time_utc=shot.time_utc - before, image_shift_um=(0.0, 0.0), phase_plate=False, kind="tiff"
        )  # fmt: skip
        return self._square(shot) / f"{name}_{_stamp(seen)}.xml", seen


def exposure_name(shot: Shot) -> str:
    """Return what EPU calls an exposure: hole, place in the template, hole's number in the square, date and time."""
    template = TEMPLATE + TEMPLATE_STEP * shot.place_in_hole
    return f"{_hole(shot)}_Data_{template}_{shot.foil_hole % 1000}_{_stamp(shot)}"


def _hole(shot: Shot) -> str:
    return f"FoilHole_{_lifted(shot.foil_hole, _FIRST_HOLE)}"


def _lifted(number: int, first: int) -> int:
    return number if number >= _MILLION else first + number


def _stamp(shot: Shot) -> str:
    return f"{shot.time_utc:%Y%m%d_%H%M%S}"
