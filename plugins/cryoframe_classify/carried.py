"""What a streaming classification carries from one set to the larger one: a file of plain arrays. Computes nothing."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryoframe.numerics.polar_images import PolarImages
from cryoframe_classify.expectation import State

Array = npt.NDArray[Any]

_NAME = "classes.npz"
#: What a state says of each image; all else is of classes, rings or the whole.
_OF_IMAGES = (
    "class_id",
    "psi_deg",
    "centres_px",
    "probability",
    "pose_probability",
    "lead",
    "evidence",
    "lost",
)


@dataclass(frozen=True)
class Carried:
    """A state, and whose images it is of.

    Attributes
    ----------
    state
        After the last round.
    particle_id
        `(m,)` uint64, of the images of the state.
    prints
        `(m, 16)` uint8: digests of what each image was, pixels and CTF; one that was made anew counts as new.
    n_seen
        `(m,)` how many rounds each image was in, all calls together.
    n_begun
        Images of the set whose classes were begun from nothing.
    """

    state: State
    particle_id: Array
    prints: Array
    n_seen: Array
    n_begun: int

    def matching(self, particle_id: Array, prints: Array) -> Array:
        """Rows `(m,)` of the images in what was carried, -1 for those that are new."""
        order = np.argsort(self.particle_id, kind="stable")
        place = np.searchsorted(self.particle_id[order], particle_id)
        row = order[np.minimum(place, len(order) - 1)]
        same = (self.particle_id[row] == particle_id) & (self.prints[row] == prints).all(axis=1)
        return np.where(same, row, -1)

    def state_of(self, rows: Array) -> State:
        """The state of images whose `rows` these are; new ones have no pose yet."""
        known = rows >= 0
        columns: dict[str, Any] = {}
        for name in _OF_IMAGES:
            old = getattr(self.state, name)
            columns[name] = np.zeros((len(rows), *old.shape[1:]), old.dtype)
            columns[name][known] = old[rows[known]]
        return replace(self.state, **columns)


def prints_of(images: PolarImages) -> Array:
    """Digests `(m, 16)` uint8 of images and their CTF parameters."""
    settings = repr((images.box_px, images.pixel_size_A, images.radius_px, images.edge_px)).encode()
    settings += repr(images.optics.settings).encode()
    out = np.empty((len(images.images), 16), np.uint8)
    for row in range(len(out)):
        digest = hashlib.blake2b(settings, digest_size=16)
        digest.update(np.ascontiguousarray(images.images[row]).data)
        digest.update(np.ascontiguousarray(images.optics.columns[row]).data)
        digest.update(int(images.optics.group[row]).to_bytes(8, "little"))
        out[row] = np.frombuffer(digest.digest(), np.uint8)
    return out


def save(folder: Path, key: str, carried: Carried) -> None:
    """Put what is carried in the file's place in one step: a kill leaves the old file or the new one."""
    state = {f"state.{item.name}": np.asarray(getattr(carried.state, item.name)) for item in fields(State)}
    fresh = folder / f"{_NAME}.part"
    with fresh.open("wb") as stream:
        np.savez(
            stream,
            allow_pickle=False,
            key=np.array(key),
            particle_id=carried.particle_id,
            prints=carried.prints,
            n_seen=carried.n_seen,
            n_begun=np.array(carried.n_begun),
            **state,
        )
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(folder / _NAME)


def load(folder: Path, key: str) -> Carried | None:
    """Return what was carried under this key, or None."""
    try:
        with (folder / _NAME).open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            values = {item.name: kept[f"state.{item.name}"] for item in fields(State)}
            state = State(**values | {"sigma_px": float(values["sigma_px"])})
            return Carried(state, kept["particle_id"], kept["prints"], kept["n_seen"], int(kept["n_begun"]))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        return None
