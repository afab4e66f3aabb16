"""The truth folder of a simulated session, opened for reading: exposures, motion, particles, faults. No scores."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoframe.data.tables import MotionTable
from cryoframe.data.twin import ExposureTruth
from cryoframe.errors import ConfigError, Incomplete
from cryoframe.formats import products

#: What is where in a truth folder; who makes sessions writes it so.
SESSION, EXPOSURES, DONE, HICCUPS = "session.json", "exposures", "exposure.json", "landing.json"


@dataclass(frozen=True)
class Truth:
    """A session's truth; the products of exposures are read when asked for."""

    folder: Path
    session: Mapping[str, Any]
    #: exposure_id → what its manifest says (movie, n_bytes, …), in order of acquisition.
    made: Mapping[str, Mapping[str, Any]]
    #: Names without endings → exposure_id.
    names: Mapping[str, str] = field(repr=False)

    @classmethod
    def open(cls, folder: Path) -> Truth:
        """Open a truth folder.

        Raises
        ------
        ConfigError
            If it is none, or no exposure is in it yet.
        """
        try:
            session = json.loads((folder / SESSION).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"{folder} is no truth folder ({SESSION}: {error.strerror})",
                expected="the folder that `cryoframe simulate --truth` wrote",
            ) from error
        except ValueError as error:
            raise ConfigError(f"{folder / SESSION} is not JSON ({error})") from error
        made = {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob(f"{EXPOSURES}/*/{DONE}"))}
        if not made:
            raise ConfigError(f"{folder} holds no finished exposure yet", remedy="Wait for it, or --resume its making.")
        names = {PurePath(one["movie"]).stem: name for name, one in made.items()} | {name: name for name in made}
        return cls(folder, session, made, names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.made)

    def exposure(self, exposure_id: str) -> ExposureTruth:
        """Return what is true of one exposure; arrays are memory-mapped."""
        return _loaded(self.folder / EXPOSURES / exposure_id)

    def exposure_of(self, name: str) -> str | None:
        """Return the exposure that a movie's, micrograph's or item's name is of, whatever folder and ending it has."""
        stem = PurePath(name.partition("@")[2] or name).name
        while stem:
            if stem in self.names:
                return self.names[stem]
            shorter = PurePath(stem).stem
            if shorter == stem:
                break
            stem = shorter
        near = [known for known in self.names if stem.startswith(known)]
        return self.names[max(near, key=len)] if near else None

    def radius_A(self, species: str) -> float:
        """Return a species' radius."""
        found = [float(one["radius_A"]) for one in self.session["species"] if one["name"] == species]
        return max(found, default=float("nan"))

    @property
    def diameter_A(self) -> float:
        """Diameter of the smallest species that counts as a particle: what picks are matched with."""
        radii = [float(one["radius_A"]) for one in self.session["species"] if one["truth_class"] == "particle"]
        return 2.0 * min(radii or [float(one["radius_A"]) for one in self.session["species"]])

    @property
    def point_group(self) -> str:
        """Symmetry of the particles, C1 where species differ in it."""
        groups = {str(one["symmetry"]) for one in self.session["species"] if one["truth_class"] == "particle"}
        return groups.pop() if len(groups) == 1 else "C1"

    def faults(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the faults of each exposure that has any, those of landing files included."""
        found = {name: list(self.exposure(name).exposure.faults) for name in self.made}
        for one in self.happened():
            found.setdefault(str(one["exposure_id"]), []).append(str(one["kind"]))
        return {name: tuple(dict.fromkeys(kinds)) for name, kinds in found.items() if kinds}

    def happened(self) -> list[dict[str, Any]]:
        """Return what happened while files landed."""
        path = self.folder / HICCUPS
        return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


@functools.lru_cache(maxsize=256)
def _loaded(folder: Path) -> ExposureTruth:
    product = products.load(folder)
    if not isinstance(product, ExposureTruth):
        raise Incomplete(f"{type(product).__name__}", path=folder, expected="the truth of an exposure")
    return product


@dataclass(frozen=True)
class Track:
    """Motion of one movie: `frame` `(n,)`, `whole_A` `(n, 2)`, `places_A` `(p, 2)`, `local_A` `(p, n, 2)`, x first."""

    frame: NDArray[np.int64]
    whole_A: NDArray[np.float64]
    places_A: NDArray[np.float64]
    local_A: NDArray[np.float64]


def track(table: MotionTable) -> Track:
    """Return a motion table as arrays; a table without whole-frame rows gets the mean of its places."""
    frame = np.asarray(table.column("frame"), dtype=np.int64)
    xy = np.stack([table.floats("patch_x_A"), table.floats("patch_y_A")], axis=-1)
    shift = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=-1)
    whole = np.isnan(xy[:, 0])
    frames = np.unique(frame)
    places = np.unique(xy[~whole], axis=0) if (~whole).any() else np.zeros((0, 2))
    local = np.full((len(places), len(frames), 2), np.nan)
    for index, place in enumerate(places):
        rows = ~whole & (xy == place).all(axis=1)
        local[index, np.searchsorted(frames, frame[rows])] = shift[rows]
    found = np.full((len(frames), 2), np.nan)
    found[np.searchsorted(frames, frame[whole])] = shift[whole]
    if not whole.any():
        found = local.mean(axis=0)
    return Track(frames, found, places, local)
