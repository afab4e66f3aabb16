"""The last step before a run: what side-car and frame count say of a settled file. Has no clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cryoframe.errors import EnvironmentFault, FileError, Incomplete
from cryoframe.kernel.config import WatchConfig
from cryoframe.records.events import Scalar
from cryoframe.watch.readiness import Entry, required_s, side_cars
from cryoframe.watch.roots import Root

#: What a side-car may say of an exposure that the file's own header knows better, or that is no fact of the specimen.
_NOT_HANDED_ON = ("n_frames", "source", "time_utc")
_MAX_READ = 2000


class Inspector(Protocol):
    """What is asked of the files themselves."""

    def n_frames(self, path: Path) -> int:
        """Return how many frames a movie has."""

    def metadata(self, path: Path) -> dict[str, Any]:
        """Return what a side-car says."""


class Doorstep:
    """Judges files that have settled.

    Parameters
    ----------
    config
        The ``[watch]`` section.
    n_frames_expected
        Frames every movie must have, as the configuration says; None = not said.
    inspector
        Reads movies and side-cars.
    """

    def __init__(self, config: WatchConfig, n_frames_expected: int | None, inspector: Inspector) -> None:
        self._config, self._n_frames, self._inspector = config, n_frames_expected, inspector
        #: Frames of the first movie that entered without a count to compare with: a hint, no more.
        self.session_n_frames = 0
        self._read_before: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def renew(self, config: WatchConfig, n_frames_expected: int | None, inspector: Inspector) -> None:
        """Judge by other settings from now on."""
        self._config, self._n_frames, self._inspector = config, n_frames_expected, inspector

    def required_s(self, root: Root, entry: Entry) -> float:
        """How long the file has to stay as it is before it is worth judging."""
        said = self._side_car(root, entry) if root.kind == "Movie" else {}
        confirmed = "n_frames" in said
        expected = confirmed or bool(self._n_frames or self.session_n_frames)
        return required_s(self._config, entry, root.kind, expected=expected, confirmed=confirmed)

    def facts(self, root: Root, entry: Entry, now_s: float) -> dict[str, Scalar] | None:
        """Return what is known of a settled file besides its header; None if it has to wait for its side-car.

        Raises
        ------
        FileError
            If the file is not whole, or cannot be read.
        """
        said = self._side_car(root, entry)
        if root.kind == "Movie":
            self._count(root, entry, said, now_s)
        if self._config.metadata == "none":
            return {}
        if not said and self._waits(entry, now_s):
            entry.held, entry.reason = True, "waits for its side-car"
            return None
        entry.bare = not said
        if not said:
            return {"metadata_missing": True}
        return {name: value for name, value in said.items() if name not in _NOT_HANDED_ON and _is_scalar(value)}

    def _waits(self, entry: Entry, now_s: float) -> bool:
        late = now_s - entry.first_s > self._config.metadata_timeout_s
        return self._config.metadata == "required" or not late

    def _count(self, root: Root, entry: Entry, said: Mapping[str, Any], now_s: float) -> None:
        """Compare the frames with what is expected: by side-car or configuration strictly, by habit with patience."""
        n_frames = self._inspector.n_frames(root.path(entry))
        wanted = int(said.get("n_frames", 0)) or self._n_frames or 0
        if wanted and n_frames < wanted:
            raise Incomplete(f"{n_frames} of {wanted} frames", path=root.path(entry))
        patient = now_s - entry.stable_since_s >= self._config.long_settle_s
        if not wanted and n_frames < self.session_n_frames and not patient:
            left_s = self._config.long_settle_s - (now_s - entry.stable_since_s)
            entry.not_before_s = now_s + min(left_s, self._config.poll_s)
            raise EnvironmentFault(
                f"{n_frames} frames where the session's movies have {self.session_n_frames}: it waits"
            )
        self.session_n_frames = self.session_n_frames or n_frames

    def _side_car(self, root: Root, entry: Entry) -> dict[str, Any]:
        """Return what the side-car beside the file says; one that cannot be read yet says nothing."""
        for name in side_cars(entry.path):
            beside = root.entries.get(name)
            if beside is None or name == entry.path:
                continue
            if said := self._read(root.folder / name, (beside.size, beside.mtime_ns)):
                return said
        return {}

    def _read(self, path: Path, identity: tuple[int, int]) -> dict[str, Any]:
        known = self._read_before.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        try:
            said = self._inspector.metadata(path)
        except EnvironmentFault:
            return {}  # it is asked again: its share may be away
        except FileError:
            said = {}
        if len(self._read_before) >= _MAX_READ:
            self._read_before.clear()
        self._read_before[path] = (identity, said)
        return said


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float, bool))
