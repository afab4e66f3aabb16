"""A small facility for load tests: one-file plugins, a configuration, files to land. Starts nothing."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HEAD = """\
from __future__ import annotations
import ctypes, os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from cryoframe import (
    CorrectedMicrograph, CtfFit, Micrograph, MotionTable, Movie, ParticleStack, ParticleTable, StageContext, hookimpl
)
from cryoframe.data.images import MicrographSource
from cryoframe.errors import Incomplete
"""
#: Images of 4 × 4 numbers, 64 bytes each: what costs time is not them.
READER = (
    HEAD
    + """
class Source:
    voltage_kV = dose_e_A2 = None
    shape_px, pixel_size_A = (4, 4), 1.0

    def __init__(self, path):
        self.path = path

    def read(self):
        return np.frombuffer(self.path.read_bytes(), np.float32).reshape(4, 4)

@hookimpl
def open_micrograph(path: Path) -> MicrographSource | None:
    if path.suffix != ".dat":
        return None
    if path.stat().st_size != 64:
        raise Incomplete("not 64 bytes", path=path)
    return Source(path)
"""
)
CTF = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    low_A: float = 30.0  # coarsest ring

@hookimpl
def estimate_ctf(micrograph: Micrograph, params: Params, ctx: StageContext) -> CtfFit:
    {body}
    return CtfFit(micrograph.micrograph_id, 1e4 + params.low_A, 9e3, float(ctx.rng.random()))
"""
)
PICK = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    n: int = 4  # picks

@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    {body}
    apart = np.arange(params.n) + 0.9 * ctx.rng.random(params.n)  # no two picks in one place
    spots = {{"x_A": apart * 3 / params.n, "y_A": ctx.rng.random(params.n) * 3}}
    return ParticleTable.from_columns(spots | {{"figure_of_merit": ctx.rng.random(params.n)}})
"""
)
BOX = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    box_px: int = 8  # edge

@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    {body}
    n = len(particles)
    images = ctx.rng.normal(size=(n, params.box_px, params.box_px)).astype(np.float32) + micrograph.data.mean()
    columns = {{"stack": [micrograph.micrograph_id] * n, "stack_index": np.arange(n)}}
    columns |= {{"box_px": np.full(n, params.box_px), "pixel_size_A": np.full(n, micrograph.pixel_size_A)}}
    return ParticleStack(images, particles.with_columns(columns), micrograph.pixel_size_A, (micrograph.optics,))
"""
)
MOTION = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    pass

@hookimpl
def correct_motion(movie: Movie, params: Params, ctx: StageContext) -> CorrectedMicrograph:
    {body}
"""
)
STAGES = {
    "ctf": ("estimate_ctf", CTF), "pick": ("pick_particles", PICK), "box": ("extract_particles", BOX),
    "motion": ("correct_motion", MOTION),
}  # fmt: skip


@dataclass
class Facility:
    """A folder with plugins, a configuration and a folder in which files land.

    Parameters
    ----------
    folder
        Everything is below it.
    stages
        Name of each stage and what its plugin does besides; a name may be ``ctf:other`` for another stage of a kind.
    run, watch, stage
        More settings of those sections; of `stage`, for every stage. Without `watch` nothing is watched.
    inputs
        More sections, as TOML.
    """

    folder: Path
    stages: Mapping[str, str] = field(default_factory=lambda: {"ctf": "pass"})
    run: Mapping[str, object] = field(default_factory=dict)
    watch: Mapping[str, object] | None = field(default_factory=dict)
    stage: Mapping[str, object] = field(default_factory=dict)
    inputs: str = ""
    where: Path | None = None

    @property
    def land(self) -> Path:
        """Return the folder in which files land."""
        return self.folder / "land"

    @property
    def out(self) -> Path:
        """Return the run folder."""
        return self.where or self.folder / "run"

    @property
    def config(self) -> Path:
        """Return the configuration."""
        return self.folder / "run.toml"

    def write(self) -> Facility:
        """Write plugins and configuration."""
        self.land.mkdir(parents=True, exist_ok=True)
        (self.folder / "reader.py").write_text(READER, encoding="utf-8")
        run = {"name": "soak", "folder": str(self.out), "device": "cpu", "executor": "inline", "workers": 1} | dict(
            self.run
        )
        watch = {"folder": "land", "kind": "micrographs", "patterns": "*.dat", "settle_s": 0.5, "poll_s": 1.0}
        watch |= {"long_settle_s": 3.0} | dict(self.watch or {})
        files, sections = ["reader.py"], []
        for name, body in self.stages.items():
            kind, _, other = name.partition(":")
            hook, source = STAGES[kind]
            called = other or kind
            (self.folder / f"{called}.py").write_text(source.format(body=body), encoding="utf-8")
            files.append(f"{called}.py")
            sections.append(
                "[[stage]]\n" + _toml({"id": called, "run": hook, "use": f"{called}.py/{called}"} | dict(self.stage))
            )
        head = [f"[run]\n{_toml(run)}", f"[plugins]\nfiles = {json.dumps(files)}", self.inputs]
        head += [] if self.watch is None else [f"[watch]\n{_toml(watch)}"]
        self.config.write_text("\n".join([*head, *sections]), encoding="utf-8")
        return self

    def put(self, name: str, number: int, *, into: Path | None = None) -> Path:
        """Land an image of its own content, in another folder if one is given."""
        path = (into or self.land) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number))
        return path


def image(number: int) -> bytes:
    """Return the 64 bytes of an image, each number's of another content."""
    return struct.pack("<16f", *(float(number >> 8 * at & 0xFF) for at in range(4)), *range(12))


def _toml(settings: Mapping[str, object]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
