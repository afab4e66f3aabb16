"""What a refinement leaves after each iteration, so that one that was killed goes on where it was, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryoframe import Mask, ParticleStack, StageContext, Volume
from cryoframe.numerics.pose_lattice import Modes
from cryoframe.numerics.pose_search import Poses
from cryoframe.numerics.refine_whole import Spectra
from cryoframe_refine.halfset import HalfSet, LeftOut
from cryoframe_refine.products import Row

_NAME = "refinement.npz"


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the state after the last whole iteration.

    Attributes
    ----------
    path
        Of the file, in a folder that outlives an attempt where the runner gives one.
    key
        Digest of everything the result depends on; a file of another key is not read.
    """

    path: Path
    key: str

    def save(self, halves: Sequence[HalfSet], rows: Sequence[Row]) -> None:
        """Put the state in the file's place in one step: a kill leaves the old file or the new one."""
        arrays: dict[str, np.ndarray] = {"key": np.array(self.key), "rows": np.array(json.dumps(list(rows)))}
        for number, half in enumerate(halves):
            for name, value in _parts(half).items():
                arrays[f"{number}.{name}"] = value
        fresh = self.path.with_suffix(".part")
        with fresh.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self.path)

    def load(self, halves: Sequence[HalfSet]) -> tuple[list[HalfSet], list[Row]] | None:
        """Return the state kept, if there is one of this key."""
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                if str(kept["key"]) != self.key:
                    return None
                rows: list[Row] = [(int(i), a, b, c) for i, a, b, c in json.loads(str(kept["rows"]))]
                names = list(kept)
                states = [
                    _restored(half, {n.partition(".")[2]: kept[n] for n in names if n.startswith(f"{number}.")})
                    for number, half in enumerate(halves)
                ]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return states, rows


def open_checkpoint(
    ctx: StageContext, stack: ParticleStack, reference: Volume, mask: Mask | None, what: Sequence[object]
) -> Checkpoint:
    """Checkpoint of a call; in ``ctx.checkpoint_dir`` where the runner gives such a folder, else in the work folder."""
    digest = hashlib.blake2b(digest_size=20)
    for thing in what:
        digest.update(repr(thing).encode())
    table = stack.particles
    for name in sorted(table.names):
        digest.update(name.encode())
        column = np.asarray(table.column(name))
        digest.update(column.astype(str).tobytes() if column.dtype == object else column.tobytes())
    images = stack.images
    for row in np.unique(np.linspace(0, len(images) - 1, 64).astype(int)):
        digest.update(np.ascontiguousarray(images[row]).tobytes())
    digest.update(np.ascontiguousarray(reference.data).tobytes())
    if mask is not None:
        digest.update(np.ascontiguousarray(mask.data).tobytes())
    folder = Path(getattr(ctx, "checkpoint_dir", None) or ctx.workdir)
    return Checkpoint(folder / _NAME, digest.hexdigest())


def _parts(half: HalfSet) -> dict[str, np.ndarray]:
    parts = {
        "reference": half.reference,
        "noise": half.spectra.noise,
        "scale": half.spectra.scale,
        "sigma_px": np.array(half.spectra.sigma_px),
        "left_out": np.array(half.left_out),
    }
    if half.modes is not None:
        parts.update({f"modes_{k}": value for k, value in enumerate(half.modes)})
    if half.insert is not None:
        parts.update({f"insert_{k}": value for k, value in enumerate(half.insert)})
    if half.candidates is not None:
        poses = half.candidates
        parts.update(candidates_0=poses.rotations, candidates_1=poses.shifts_px, candidates_2=poses.scores)
    return {name: np.asarray(value) for name, value in parts.items()}


def _restored(half: HalfSet, parts: dict[str, np.ndarray]) -> HalfSet:
    modes = Modes(*(parts[f"modes_{k}"] for k in range(4))) if "modes_0" in parts else None
    insert = Modes(*(parts[f"insert_{k}"] for k in range(4))) if "insert_0" in parts else None
    poses = Poses(*(parts[f"candidates_{k}"] for k in range(3))) if "candidates_0" in parts else None
    spectra = Spectra(parts["noise"], parts["scale"], float(parts["sigma_px"]))
    left_out = LeftOut(*(float(value) for value in parts["left_out"]))
    return replace(
        half,
        reference=parts["reference"],
        spectra=spectra,
        modes=modes,
        insert=insert,
        candidates=poses,
        left_out=left_out,
    )
