"""A small facility for tests of whole runs: micrographs, one-file plugins for each stage, configurations, snapshots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryoframe.data.tables import ParticleTable
from cryoframe.execution.run import Run
from cryoframe.formats import mrc
from cryoframe.kernel.config import load
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.plugins import Plugins

HEAD = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
import ctypes, os, signal, subprocess, sys, time
import numpy as np
from cryoframe import (
    ClassTable, Classes2D, Convention, CtfFit, Micrograph, ParticleStack, ParticleTable, StageContext, Volume, hookimpl
)
from cryoframe.data.images import MicrographSource
from cryoframe.errors import *
from cryoframe.formats import mrc
"""
READER = (
    HEAD
    + """
class Source:
    voltage_kV = dose_e_A2 = None

    def __init__(self, path):
        self.path, header = path, mrc.read_header(path)
        self.shape_px, self.pixel_size_A = header.shape[1:], header.pixel_size_A[0]

    def read(self):
        return mrc.read(self.path)[0][0]

@hookimpl
def open_micrograph(path: Path) -> MicrographSource | None:
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
    print("fitting", micrograph.micrograph_id)
    ctx.report(1, 1)
    ctx.metric("mean", float(micrograph.data.mean()))
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
    min_distance_A: float = 0.0  # closest picks

@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    ny, nx = micrograph.shape_px
    rng, pixel_A = ctx.rng, micrograph.pixel_size_A
    columns = {{"x_A": rng.random(params.n) * nx * pixel_A, "y_A": rng.random(params.n) * ny * pixel_A}}
    table = ParticleTable.from_columns(columns | {{"figure_of_merit": rng.random(params.n)}})
    {body}
    return table
"""
)
EXTRACT = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    box_px: int = 8  # edge

@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    n = len(particles)
    images = ctx.rng.normal(size=(n, params.box_px, params.box_px)).astype(np.float32) + micrograph.data.mean()
    names = [micrograph.micrograph_id] * n
    columns = {{"stack": names, "stack_index": np.arange(n), "box_px": np.full(n, params.box_px)}}
    rows = particles.with_columns(columns | {{"pixel_size_A": np.full(n, micrograph.pixel_size_A)}})
    {body}
    return ParticleStack(images, rows, micrograph.pixel_size_A, (micrograph.optics,))
"""
)
CLASSIFY = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    k: int = 2  # classes

@hookimpl
def classify_2d(stack: ParticleStack, params: Params, ctx: StageContext) -> Classes2D:
    n = len(stack.particles)
    labels = np.arange(n, dtype=np.int32) % params.k
    averages = np.stack([np.asarray(stack.images)[labels == label].mean(axis=0) for label in range(params.k)])
    rows = {{"particle_id": stack.particles.column("particle_id"), "class_id": labels}}
    rows = ParticleTable.from_columns(rows | {{"class_probability_frac": np.ones(n)}})
    sizes = np.bincount(labels, minlength=params.k)
    zeros = np.zeros(params.k)
    classes = {{"class_id": np.arange(params.k), "n_particles": sizes, "resolution_A": zeros, "class_score": zeros}}
    {body}
    return Classes2D(averages, ClassTable.from_columns(classes), rows, stack.pixel_size_A)
"""
)
SELECT = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    keep: int = 0  # class that is kept

@hookimpl
def select_particles(classes: Classes2D, params: Params, ctx: StageContext) -> ParticleTable:
    table = classes.particles
    kept = table.column("class_id") == params.keep
    ctx.drop(table.column("particle_id")[~kept], "class not chosen", values=table.floats("class_id")[~kept])
    return table.select(kept)
"""
)
INITIAL = (
    HEAD
    + """
@dataclass(frozen=True)
class Params:
    pass

@hookimpl
def make_initial_volume(stack: ParticleStack, params: Params, ctx: StageContext) -> Volume:
    n = stack.images.shape[-1]
    ctx.metric("n_images", len(stack.images))
    same = np.array_equal(stack.particles.column("class_id"), np.zeros(len(stack.particles)))
    return Volume(np.full((n, n, n), float(same), np.float32), stack.pixel_size_A)
"""
)
STAGES = {
    "ctf": ("estimate_ctf", CTF),
    "pick": ("pick_particles", PICK),
    "box": ("extract_particles", EXTRACT),
    "classes": ("classify_2d", CLASSIFY),
    "select": ("select_particles", SELECT.replace("{", "{{").replace("}", "}}")),
    "start": ("make_initial_volume", INITIAL.replace("{", "{{").replace("}", "}}")),
}


@dataclass
class World:
    """A folder with micrographs, plugins and a configuration."""

    folder: Path
    stages: tuple[str, ...] = ("ctf", "pick")
    n_micrographs: int = 3
    executor: str = "inline"
    workers: int = 2
    body: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    pixel_size_A: float = 1.5
    out: str = "out"
    seed: int = 7

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    def write(self) -> Path:
        """Write everything that is not there yet, and the configuration anew."""
        self.raw.mkdir(parents=True, exist_ok=True)
        for number in range(self.n_micrographs):
            self.micrograph(f"m{number}.mrc", seed=number)
        (self.folder / "reader.py").write_text(READER, encoding="utf-8")
        files = ["reader.py", *(f"{name}.py" for name in self.stages)]
        lines = [
            f'[run]\nname = "w"\nfolder = "{self.out}"\nworkers = {self.workers}\nseed = {self.seed}',
            f'executor = "{self.executor}"\n[plugins]\nfiles = {files}',
            f'[micrographs]\nfiles = "raw/*.mrc"\npixel_size_A = {self.pixel_size_A}',
        ]
        for name in self.stages:
            hook, source = STAGES[name]
            body = self.body.get(name, "pass")
            (self.folder / f"{name}.py").write_text(source.format(body=body), encoding="utf-8")
            lines.append(f'[[stage]]\nid = "{name}"\nrun = "{hook}"\nuse = "{name}"\n{self.extra.get(name, "")}')
        path = self.folder / "run.toml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def micrograph(self, name: str, *, seed: int, shape: tuple[int, int] = (24, 32)) -> Path:
        path = self.raw / name
        if not path.exists():
            data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            mrc.write(path, data, pixel_size_A=1.5)
        return path

    @contextmanager
    def open(self, *, backoff_s: float = 0.001) -> Iterator[Run]:
        """Open the run without looking at what is installed, with short waits before a retry."""
        config = load(self.write())
        with Run(config, Plugins(local_offers(config.plugin_files))) as run:
            run.backoff_s = backoff_s
            yield run

    def execute(self) -> dict[str, dict[str, int]]:
        with self.open() as run:
            return run.execute()


def digests(run: Run, stage: str | None = None) -> dict[str, str]:
    """Return the digest of every finished task's product."""
    tasks = run.state.tasks(stage, "done")
    return {f"{task.stage_id}/{task.item_id}": task.digest for task in tasks}


def products_of(run: Run, stage: str) -> list[object]:
    return [run.store.load(stage, task.key) for task in run.state.tasks(stage, "done")]


def table_of(run: Run, stage: str) -> ParticleTable:
    tables = [product for product in products_of(run, stage) if isinstance(product, ParticleTable)]
    return ParticleTable.concat(tables)


def names(run: Run) -> list[str]:
    """Return the class names of all events in order."""
    return [type(event).__name__ for event in run.journal.replay()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):  # it has gone since
        return False


def processes_with(mark: str) -> int:
    """Return how many processes have a text in their command line."""
    n_found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                n_found += mark.encode() in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return n_found
