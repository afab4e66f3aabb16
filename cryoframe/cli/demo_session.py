"""The demo's session: what lands when, and how the result is held against the published one. No argument parsing."""

from __future__ import annotations

import bz2
import threading
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from cryoframe.compare import metrics
from cryoframe.data.results import Refinement
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import ConfigError
from cryoframe.execution.run import Run
from cryoframe.formats import star_columns
from cryoframe.records import folders
from cryoframe.view import plots, sections
from cryoframe.view.report import Extra

PIECES = 12  # a microscope writes a file in many pieces; so does the demo
#: What RELION 5 reaches from these particles and this start (835 CPU seconds), for comparison.
PEER = {"angle_median_deg": 1.50, "shift_median_A": 1.22, "resolution_A": 7.55}


def prepare(folder: Path) -> Path:
    """Lay out the demo's folder and return its configuration.

    Raises
    ------
    ConfigError
        If the folder is there already and not an earlier demo.
    """
    folders.made(folder, "--out", remedy="Give another --out.")
    if any(folder.iterdir()) and not (folder / "demo.toml").is_file():
        raise ConfigError(
            f"folder {folder} is not empty", expected="a new folder or an earlier demo", remedy="Give another --out."
        )
    for name in ("data", "incoming"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    source = files("cryoframe.cli")
    for name in ("betagal_593.mrcs", "betagal_593.star", "5a1a.cif.gz", "ORIGIN.md"):
        if not (folder / "data" / name).is_file():
            (folder / "data" / name).write_bytes((source / "demo_data" / name).read_bytes())
    config = folder / "demo.toml"
    config.write_bytes((source / "demo.toml").read_bytes())
    return config


class Microscope(threading.Thread):
    """Writes two micrographs into the watched folder: one grows slowly, one appears by rename."""

    def __init__(self, folder: Path, *, pause_s: float = 0.15) -> None:
        super().__init__(name="microscope", daemon=True)
        self.folder, self.pause_s = folder, pause_s

    def run(self) -> None:
        """Land the files that are not there yet."""
        source = files("cryoframe.cli") / "demo_data"
        for name, slowly in (("half_1.mrc", True), ("half_2.mrc", False)):
            final = self.folder / "incoming" / name
            if final.is_file():
                continue
            content = bz2.decompress((source / f"{name}.bz2").read_bytes())
            target = final if slowly else final.with_name(f".{name}.part")
            with target.open("wb") as file:
                step = -(-len(content) // PIECES)
                for start in range(0, len(content), step):
                    file.write(content[start : start + step])
                    file.flush()
                    time.sleep(self.pause_s)
            if target != final:
                target.rename(final)


def published_poses() -> ParticleTable:
    """Return the published poses of the demo's particles; row i is particle i of the stack."""
    with_poses = files("cryoframe.cli") / "demo_data" / "betagal_593_published.star"
    records = star_columns.particles_from_star(Path(str(with_poses)))
    names = ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A")
    columns = {name: np.asarray(records.columns[name], dtype=np.float32) for name in names}
    columns["stack_index"] = np.asarray(records.columns["stack_index"], dtype=np.int32)
    return ParticleTable.from_columns(columns)


def score(refinement: Refinement) -> metrics.PoseError:
    """Hold the poses found against the published ones, particle by particle."""
    truth = published_poses()
    order = np.argsort(truth.column("stack_index"))
    found = refinement.particles
    rows = order[found.column("stack_index")]
    named = truth.select(rows).with_columns({"particle_id": found.column("particle_id")})
    return metrics.pose_error(found, named, point_group="D2")


def comparison(run: Run) -> tuple[Extra, dict[str, float]]:
    """Return the report's first section, poses against the published ones, and its numbers."""
    task = next(iter(run.state.tasks("refine", "done")), None)
    product = run.store.load("refine", task.key) if task else None
    if not isinstance(product, Refinement):
        return Extra("Result", "<p>The refinement did not finish; see below why.</p>"), {}
    errors = score(product)
    numbers = errors.summary() | {"resolution_A": product.fsc.resolution_A()}
    far = float(np.mean(errors.angle_deg > 20))
    rows = [
        ["median angle to the published poses", f"{numbers['angle_median_deg']:.2f}°", f"{PEER['angle_median_deg']}°"],
        ["median shift to the published poses", f"{numbers['shift_median_A']:.2f} Å", f"{PEER['shift_median_A']} Å"],
        ["unmasked half-map FSC 0.143", f"{numbers['resolution_A']:.2f} Å", f"{PEER['resolution_A']} Å"],
        ["particles more than 20° from their published pose", f"{far:.1%}", ""],
    ]
    table = sections.table_of(["593 real β-galactosidase particles", "here", "RELION 5"], rows)
    shown = np.minimum(errors.angle_deg, 20.0)
    axes = plots.Axes("angle to the published pose [°], 20 = 20 or more", "particles")
    return Extra("Result", table + sections.figure(plots.histogram(shown, axes), "Pose errors")), numbers
