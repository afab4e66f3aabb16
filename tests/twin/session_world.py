"""A stage that makes movies in no time, and sessions of it: what the tests of the session share. No assertion here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryoframe.kernel.discovery import local_offers, scan
from cryoframe.kernel.plugins import Plugins
from cryoframe.twin.deliver import land_all, landed_path
from cryoframe.twin.make import make_all
from cryoframe.twin.prepare import Ready, prepare
from cryoframe.twin.session import SessionConfig, from_mapping
from cryoframe.twin.truth_folder import gather

#: Makes Poisson frames with a few particles; every number follows from seed and exposure.
STAGE = """
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryoframe import (
    DefectMap, Exposure, ExposureTruth, GainReference, MotionTable, Movie, Optics, ParticleTable, SimulatedMovie,
    Specimen, SpecimenRequest, StageContext, Volume, hookimpl,
)
from cryoframe.data.ids import particle_id

SPECIMEN = "quick"


@dataclass(frozen=True)
class Params:
    camera: str = "k3"  # name of the camera
    camera_seed: int = 0  # of the gain
    wait_s: float = 0.0  # how long an exposure takes
    n: int = 6  # particles in an exposure
    moody: bool = False  # another gain for every exposure


class Frames:
    def __init__(self, exposure: Exposure, seed: int, rate: np.ndarray) -> None:
        self.exposure, self.seed, self.rate = exposure, seed, rate
        self.n_frames, self.shape_px, self.pixel_size_A = exposure.n_frames, exposure.shape_px, exposure.pixel_size_A

    def read_frame(self, index: int) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=hash_of(self.exposure.exposure_id, self.seed, index)))
        return rng.poisson(self.rate).astype(np.float32)


def hash_of(name: str, seed: int, index: int) -> int:
    return particle_id(f"{name}|{seed}|{index}", 0.0, 0.0, "frames")


@hookimpl
def open_specimen(path: Path, request: SpecimenRequest) -> tuple[Specimen, ...] | None:
    if path.suffix != ".quick":
        return None
    z, y, x = np.ogrid[-16:16, -16:16, -16:16]
    ball = 1 / (1 + np.exp(np.sqrt(z**2 + y**2 + x**2) - 10))
    volume = Volume(ball.astype(np.float32), request.pixel_size_A)
    return tuple(Specimen(request.name, volume, 400.0, 40.0, conformation=at) for at in request.conformations)


@hookimpl
def simulate_movies(
    specimens: Sequence[Specimen], exposure: Exposure, params: Params, ctx: StageContext
) -> SimulatedMovie:
    time.sleep(params.wait_s)
    ny, nx = exposure.shape_px
    mood = hash_of(exposure.exposure_id, 0, 0) if params.moody else 1
    rng = np.random.Generator(np.random.Philox(key=params.camera_seed + mood))
    gain = (1 + 0.05 * rng.standard_normal((ny, nx))).astype(np.float32)
    rate = 4.0 * np.ones((ny, nx)) / gain
    optics = Optics(
        beam_tilt_x_mrad=exposure.beam_tilt_x_mrad, beam_tilt_y_mrad=exposure.beam_tilt_y_mrad,
        optics_group=exposure.optics_group,
    )
    frames = Frames(exposure, ctx.seed, rate)
    movie = Movie(
        exposure.exposure_id, "", exposure.n_frames, (ny, nx), exposure.pixel_size_A, exposure.dose_per_frame_e_A2,
        optics, source=frames,
    )
    truth = ExposureTruth(
        exposure, optics, particles(exposure, specimens, params.n if specimens else 0, ctx), motion(exposure, ctx),
        np.full((2, 2), exposure.ice_thickness_A, np.float32), np.zeros((2, 2), np.float32), 500.0, 0.8, 4.0, 4.0,
        seed=ctx.seed,
    )
    return SimulatedMovie(movie, truth, GainReference(gain), DefectMap(np.zeros((ny, nx), dtype=bool)))


def particles(exposure: Exposure, specimens: Sequence[Specimen], n: int, ctx: StageContext) -> ParticleTable:
    rng = ctx.rng
    extent = np.array(exposure.shape_px[::-1]) * exposure.pixel_size_A
    xy = rng.uniform(0.2, 0.8, (n, 2)) * extent
    kinds = [specimens[index % len(specimens)] for index in range(n)]
    f = lambda values: np.asarray(values, dtype=np.float32)
    return ParticleTable.from_columns({
        "particle_id": np.array([particle_id(exposure.exposure_id, x, y, "truth") for x, y in xy], dtype=np.uint64),
        "micrograph_id": [exposure.exposure_id] * n, "optics_group": [exposure.optics_group] * n,
        "half": np.zeros(n, dtype=np.uint8), "x_A": f(xy[:, 0]), "y_A": f(xy[:, 1]),
        "defocus_u_A": f(np.full(n, exposure.defocus_u_A)), "defocus_v_A": f(np.full(n, exposure.defocus_v_A)),
        "defocus_angle_deg": f(np.full(n, exposure.defocus_angle_deg)), "phase_shift_deg": f(np.zeros(n)),
        "rot_deg": f(rng.uniform(-180, 180, n)), "tilt_deg": f(rng.uniform(0, 180, n)),
        "psi_deg": f(rng.uniform(-180, 180, n)), "shift_x_A": f(np.zeros(n)), "shift_y_A": f(np.zeros(n)),
        "z_A": f(np.zeros(n)), "species": [kind.name for kind in kinds],
        "conformation_frac": f([kind.conformation for kind in kinds]),
        "truth_class": [kind.truth_class for kind in kinds],
    })


def motion(exposure: Exposure, ctx: StageContext) -> MotionTable:
    extent = np.array(exposure.shape_px[::-1]) * exposure.pixel_size_A
    time_ = np.arange(exposure.n_frames)
    drift = np.stack([0.8 * time_, -0.3 * time_], axis=-1)
    rows = [(np.nan, np.nan, 0.0)]
    rows += [(x * extent[0], y * extent[1], x * y) for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)]
    n = len(time_)
    f = lambda values: np.asarray(values, dtype=np.float32)
    return MotionTable.from_columns({
        "frame": np.tile(time_, len(rows)).astype(np.int32),
        "patch_x_A": f(np.repeat([row[0] for row in rows], n)), "patch_y_A": f(np.repeat([row[1] for row in rows], n)),
        "shift_x_A": f(np.concatenate([drift[:, 0] + row[2] * time_ for row in rows])),
        "shift_y_A": f(np.concatenate([drift[:, 1] for row in rows])),
    })
"""


def settings(folder: Path, **changed: Any) -> dict[str, Any]:
    """Write the stage and a specimen into a folder; return the plain values of a small session of them."""
    (folder / "quick_stage.py").write_text(STAGE, encoding="utf-8")
    (folder / "thing.quick").touch()
    content: dict[str, Any] = {
        "session": {
            "name": "small", "seed": 5, "n_movies": 4, "folder": "out", "truth": "truth", "layout": "flat",
            "plugin_files": ["quick_stage.py"],
        },
        "image": {"shape_px": [64, 96], "pixel_size_A": 4.0, "n_frames": 5},
        "specimen": [{"file": "thing.quick"}],
        "simulate": {"use": "quick_stage"},
    }  # fmt: skip
    for section, values in changed.items():
        content[section] = {**content.get(section, {}), **values} if isinstance(values, dict) else values
    return content


def small(folder: Path, **changed: Any) -> SessionConfig:
    """Return a small session in a folder; sections are changed key by key."""
    return from_mapping(settings(folder, **changed), folder=folder)


def plugins_of(config: SessionConfig) -> Plugins:
    return Plugins((*scan(), *local_offers(config.plugin_files)))


def made(config: SessionConfig, *, n_workers: int = 1, resume: bool = False) -> Ready:
    """Make a session whole: movies, landing, truth."""
    ready = prepare(config, plugins_of(config), n_workers=n_workers, resume=resume)
    for _ in make_all(ready, n_workers=n_workers, landed=lambda planned: landed_path(ready, planned.shot)):
        pass
    gather(config.truth, land_all(ready))
    return ready


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but for locks and journals."""
    left_out = (".lock", "landing.jsonl", "session.json")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in left_out
    }
