"""Cost of 2-D classes and of refinement beside RELION, box by box: ``python tests/campaigns/boxes_beside_relion.py``.

The same few particles of `large_particles` (the same field of view: more pixels are finer ones) go through ours and
through the installed `relion_refine`, one thread each, for the same few iterations: 2-D with K classes, and 3-D with
octahedral symmetry from the truth at 30 Å. Prints CPU-seconds an iteration, children included, and the ratio by box.
Ours starts warm: what is loaded and compiled once is left out. RELION's 3-D is one class of all particles, half of what
its gold-standard refinement does; ours keeps half-sets.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import large_particles
import numpy as np
from large_set import DIAMETER_A

from cryoframe import ParticleStack, StageContext, Volume
from cryoframe.formats import mrc
from cryoframe_classify import plugin as classify
from cryoframe_refine import plugin as refine
from cryoframe_relion import poses

_ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
_COMMON = ("--ctf", "--norm", "--scale", "--zero_mask", "--flatten_solvent", "--oversampling", "1", "--j", "1")
_COMMON += ("--particle_diameter", f"{DIAMETER_A:g}", "--pad", "2")


def cpu_s() -> float:
    """CPU-seconds of this process and of those it has waited for."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def relion_s(stack: ParticleStack, truth: np.ndarray, folder: Path, what: str, asked: argparse.Namespace) -> float:
    """CPU-seconds of an iteration of `relion_refine`."""
    work = folder / f"relion_{what}"
    work.mkdir(exist_ok=True)
    reference = Volume(truth, stack.pixel_size_A, "O")
    poses.hand_over(stack, reference, None, work)
    command = ["relion_refine", "--i", "particles.star", "--o", f"{poses.OUT}/run", "--iter", str(asked.iterations)]
    range_px = asked.offset_A / stack.pixel_size_A
    command += [*_COMMON, "--offset_range", f"{range_px:.1f}", "--offset_step", f"{asked.offset_step_px:g}"]
    if what == "2-D":
        command += ["--K", str(asked.classes), "--tau2_fudge", "2", "--psi_step", "12"]
    else:
        mrc.write(work / "truth.mrc", truth, pixel_size_A=stack.pixel_size_A)
        command += ["--ref", "truth.mrc", "--firstiter_cc", "--ini_high", "30", "--sym", "O", "--healpix_order", "2"]
    begun = cpu_s()
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, env=os.environ | _ONE)
    if done.returncode:
        raise SystemExit(done.stderr + done.stdout[-2000:])
    return (cpu_s() - begun) / asked.iterations


def ours_s(stack: ParticleStack, truth: np.ndarray, folder: Path, what: str, asked: argparse.Namespace) -> float:
    """CPU-seconds of an iteration of ours."""
    reference = Volume(truth, stack.pixel_size_A, "O")

    def run(particles: ParticleStack, n_iterations: int) -> None:
        context = StageContext(Path(tempfile.mkdtemp(dir=folder)))
        if what == "2-D":
            params = classify.Params(n_classes=asked.classes, n_iterations=n_iterations, particle_diameter_A=DIAMETER_A)
            classify.classify_2d(particles, params, context)
        else:
            refine.refine_3d(
                particles,
                reference,
                None,
                refine.Params(particle_diameter_A=DIAMETER_A, n_iterations=n_iterations),
                context,
            )

    rows = np.concatenate([np.flatnonzero(np.asarray(stack.particles.column("half")) == half)[:10] for half in (1, 2)])
    run(replace(stack, images=np.array(stack.images[rows]), particles=stack.particles.select(rows)), 1)
    begun = cpu_s()
    run(stack, asked.iterations)
    return (cpu_s() - begun) / asked.iterations


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every box, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--offset-A", type=float, default=15.0, help="how far RELION looks; ours looks 20 % of the box")
    parser.add_argument("--offset-step-px", type=float, default=2.0)
    parser.add_argument("--what", nargs="+", choices=("2-D", "3-D"), default=["2-D", "3-D"])
    asked = parser.parse_args(argv)
    for what in asked.what:
        for box_px in asked.boxes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                large_particles.make(folder, asked.count, box_px, 0.05)
                stack, truth = large_particles.stack(folder), np.load(folder / "truth.npz")["volume"]
                mine, theirs = (one(stack, truth, folder, what, asked) for one in (ours_s, relion_s))
            sys.stdout.write(
                f"{what}, {asked.count} particles of {box_px} px, {asked.iterations} iterations: ours {mine:.2f}, "
                f"RELION {theirs:.2f} CPU-s an iteration, ratio {theirs / mine:.0f} (load {os.getloadavg()[0]:.1f})\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
