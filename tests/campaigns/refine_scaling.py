"""How the cost of `refine_3d` grows with particles, box and resolution: CPU-seconds and memory measured and fitted.

``python tests/campaigns/refine_scaling.py --boxes 64 128 --counts 500 1000 2000`` makes particles of one molecule (a
coil of Gaussian lumps, 90 Å across, without symmetry) with CTF and noise in a memory-mapped file, refines each set in a
process of its own, and prints CPU-seconds, peak memory, resolution and pose error of each, and the fits. The field of
view is that of the smallest box times its pixel: more pixels are finer ones, as in a stack that is binned less.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryoframe import ParticleStack, StageContext
from cryoframe.numerics import rotations
from cryoframe.testing import phantoms
from cryoframe_refine import plugin

FIELD_A = 128.0
_CHUNK = 500


@dataclass(frozen=True)
class Measured:
    """What one refinement took and reached."""

    n_particles: int
    box_px: int
    cpu_s: float
    peak_MB: float
    before_MB: float
    resolution_A: float
    pose_error_deg: float


def make(folder: Path, n_particles: int, box_px: int, snr: float) -> tuple[ParticleStack, np.ndarray]:
    """Particles in a mapped file, and their true rotations; `snr` is that of an image whose pixel is 4 Å."""
    pixel_A = FIELD_A / box_px
    volume, rng = phantoms.molecule(box_px, pixel_A), np.random.default_rng([n_particles, box_px])
    euler = phantoms.random_views(n_particles, "scaling")
    shifts = rng.uniform(-2.0, 2.0, (n_particles, 2)) * 4.0
    images = np.memmap(folder / "images.raw", np.float32, "w+", shape=(n_particles, box_px, box_px))
    scale = 0.0
    for start in range(0, n_particles, _CHUNK):
        part = slice(start, start + _CHUNK)
        clean = phantoms.projections(volume, euler[part], shifts_A=shifts[part], fit=phantoms.CTF)
        # Finer pixels share the dose of the coarse ones: each holds more noise against the same signal.
        scale = scale or float(np.sqrt(snr) / clean.std() * 32.0 / box_px)
        images[part] = clean * scale + rng.standard_normal(clean.shape).astype(np.float32)
    images.flush()
    table = phantoms.identified(n_particles, "scaling").with_columns(
        phantoms._image_columns(n_particles) | phantoms.ctf_columns(n_particles)
    )
    table = table.with_columns(
        {
            "pixel_size_A": np.full(n_particles, pixel_A, np.float32),
            "box_px": np.full(n_particles, box_px, np.int32),
        }
    )
    mapped = np.memmap(folder / "images.raw", np.float32, "r", shape=(n_particles, box_px, box_px))
    return ParticleStack(mapped, table, pixel_A, (phantoms.OPTICS,)), rotations.euler_to_matrix(*euler.T)


def measure(n_particles: int, box_px: int, *, snr: float, n_iterations: int) -> Measured:
    """Refine one set in this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stack, truth = make(folder, n_particles, box_px, snr)
        reference = phantoms.molecule(box_px, FIELD_A / box_px)
        params = plugin.Params(particle_diameter_A=110.0, n_iterations=n_iterations, initial_low_pass_A=30.0)
        plugin.refine_3d(*_few(stack, reference), replace(params, n_iterations=1), StageContext(folder))
        before_MB, begun = _peak_MB(), time.process_time()
        result = plugin.refine_3d(stack, reference, None, params, StageContext(folder))
        cpu_s = time.process_time() - begun
        found = rotations.euler_to_matrix(
            *(result.particles.floats(column) for column in ("rot_deg", "tilt_deg", "psi_deg"))
        )
        error = float(np.median(rotations.angular_distance_deg(found, truth)))
        reached = result.fsc.resolution_A(0.143, curve="fsc_masked")
        return Measured(n_particles, box_px, cpu_s, _peak_MB(), before_MB, reached, error)


def _few(stack: ParticleStack, reference: object) -> tuple[ParticleStack, object, None]:
    """Twenty particles, for what is loaded and compiled once."""
    rows = np.arange(min(20, len(stack.images)))
    return replace(stack, images=np.array(stack.images[rows]), particles=stack.particles.select(rows)), reference, None


def _peak_MB() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def fitted(runs: Sequence[Measured]) -> list[str]:
    """Fits as lines for people: power law of CPU-seconds, and memory a particle at each box."""
    lines = []
    table = np.array([(run.n_particles, run.box_px, run.cpu_s, run.resolution_A) for run in runs])
    names = ["particles", "box", "1/resolution"]
    columns = [np.log(table[:, 0]), np.log(table[:, 1]), -np.log(table[:, 3])]
    varied = [k for k, column in enumerate(columns) if np.ptp(column) > 0.05]
    if len(runs) > len(varied):
        design = np.column_stack([np.ones(len(runs)), *(columns[k] for k in varied)])
        found, *_ = np.linalg.lstsq(design, np.log(table[:, 2]), rcond=None)
        off = np.exp(np.abs(design @ found - np.log(table[:, 2])).max())
        powers = " ".join(f"{names[k]}^{power:.2f}" for k, power in zip(varied, found[1:], strict=True))
        lines.append(f"CPU-s = {np.exp(found[0]):.3g} {powers} (worst point off by a factor of {off:.2f})")
    for box in sorted({run.box_px for run in runs}):
        mine = [run for run in runs if run.box_px == box]
        if len(mine) > 1:
            slope, base = np.polyfit([r.n_particles for r in mine], [r.peak_MB for r in mine], 1)
            lines.append(
                f"peak memory at {box} px: {base:.0f} MB + {1000 * slope:.2f} kB a particle; "
                f"100 000 particles: {(base + 1e5 * slope) / 1024:.1f} GB (an image is {4 * box**2 / 1024:.0f} kB)"
            )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every combination, each in its own process, and print the table and the fits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--snr", type=float, default=0.3)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--one", type=int, nargs=2, metavar=("COUNT", "BOX"), help="one set, in this process")
    asked = parser.parse_args(argv)
    if asked.one:
        one = measure(*asked.one, snr=asked.snr, n_iterations=asked.iterations)
        sys.stdout.write(json.dumps(one.__dict__) + "\n")
        return 0
    runs = []
    for box in asked.boxes:
        for count in asked.counts:
            own = [sys.executable, str(Path(__file__).resolve()), "--one", str(count), str(box)]
            own += ["--snr", str(asked.snr), "--iterations", str(asked.iterations)]
            text = subprocess.run(own, check=True, capture_output=True, text=True).stdout
            runs.append(Measured(**json.loads(text.splitlines()[-1])))
            run = runs[-1]
            sys.stdout.write(
                f"{run.n_particles:6d} particles of {run.box_px} px: {run.cpu_s:.1f} CPU-s "
                f"({1000 * run.cpu_s / run.n_particles:.1f} ms each), peak {run.peak_MB:.0f} MB "
                f"({run.before_MB:.0f} before), {run.resolution_A:.1f} Å, pose error {run.pose_error_deg:.2f}°\n"
            )
            sys.stdout.flush()
    sys.stdout.write("\n".join(fitted(runs)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
