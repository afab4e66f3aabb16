"""Movies in one folder without side-cars, as many sites hand them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from cryoframe.errors import InvalidInput
from cryoframe.twin.shot import Shot

ENDINGS: Final = {"tiff": ".tiff", "mrc": ".mrc", "eer": ".eer"}


@dataclass(frozen=True)
class FlatLayout:
    """One folder.

    Parameters
    ----------
    session_name
        What movies are called, before their number.
    first
        The session's first exposure; its kind decides how files end.
    """

    session_name: str
    first: Shot
    side_cars_last: bool = True

    def __post_init__(self) -> None:
        if self.first.kind not in ENDINGS:
            raise InvalidInput(f"movies of kind {self.first.kind!r}", expected=f"one of {', '.join(ENDINGS)}")
        if any(character in self.session_name for character in "/\\\n\0"):
            raise InvalidInput(f"session name {self.session_name!r}", expected="a name without slashes or newlines")

    @property
    def movie_pattern(self) -> str:
        """Pattern for the ``[watch]`` section that matches the movies and nothing else."""
        return f"{self.session_name}_[0-9]*{ENDINGS[self.first.kind]}"

    def session_files(self, shots: Sequence[Shot]) -> Mapping[PurePosixPath, bytes]:
        """Return nothing."""
        return {}

    def movie_path(self, shot: Shot) -> PurePosixPath:
        """Return where the movie lands."""
        return PurePosixPath(f"{self.session_name}_{shot.number:05d}{ENDINGS[shot.kind]}")

    def side_cars(self, shot: Shot) -> Mapping[PurePosixPath, bytes]:
        """Return nothing."""
        return {}

    def gain_path(self) -> PurePosixPath:
        """Return where the gain reference lies."""
        return PurePosixPath("gain.gain" if self.first.kind == "eer" else "gain.mrc")

    def defects_path(self) -> PurePosixPath:
        """Return where the map of defects lies."""
        return PurePosixPath("defects.mrc")
