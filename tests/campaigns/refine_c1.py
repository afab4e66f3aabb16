"""Refinement in C1 of particles that RELION projected: ``python tests/campaigns/refine_c1.py gold nonuniform relion``.

1 000 images of 64² at 3 Å of a 116 kDa chain of 5A1A, CTF and noise by `relion_project`, micrographs in half-sets by
turns; each refiner starts from the truth low-passed to 40 Å, looks for particles within 5 px, and knows no pose. A
number among the arguments is the signal to noise, by variance over the whole box: at 0.027, unless told, true poses
themselves give maps of which 3.2° is the error of poses found anew; at 0.1, 1.3°. Prints CPU-seconds, errors of pose
and shift, the FSC to the truth, and round by round how much of the posteriors lay beyond what a near search looks at.
RELION's three processes are counted together; the one that leads only waits, busily, so its own work is less.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ab_initio_seeds import CHAIN_DIAMETER_A, PIXEL_A, SNR, Trial, projected_c1

from cryoframe import Refinement, StageContext, Volume
from cryoframe.numerics import fsc, masks, rotations
from cryoframe_refine import nonuniform, plugin
from cryoframe_relion import refine as relion

START_A = 40.0
OFFSET_RANGE_A = 15.0
PER_MICROGRAPH = 50
REFINERS = {"gold": plugin, "nonuniform": nonuniform, "relion": relion}
_POSE = ("rot_deg", "tilt_deg", "psi_deg")


def cpu_s() -> float:
    """CPU-seconds of this process and of those it has waited for."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def judged(result: Refinement, trial: Trial) -> str:
    """Say how far poses, places and map are from the truth."""
    assert trial.pose is not None
    table = result.particles
    true = trial.pose[np.asarray(table.column("stack_index"))]
    found = rotations.euler_to_matrix(*(table.floats(name) for name in _POSE))
    angle = rotations.angular_distance_deg(rotations.euler_to_matrix(*true[:, :3].T), found)
    shift = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1)
    off_A = np.linalg.norm(shift - true[:, 3:], axis=1)
    ball = masks.spherical_mask(len(trial.truth), 0.5 * CHAIN_DIAMETER_A / PIXEL_A, edge_px=4)
    curves = [fsc.fsc_curve(result.volume.data, trial.truth, pixel_size_A=PIXEL_A, mask=mask) for mask in (None, ball)]
    whole, masked = (fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.5).resolution_A for curve in curves)
    return (
        f"pose median {np.median(angle):.2f}° (90 %: {np.quantile(angle, 0.9):.1f}°), shift {np.median(off_A):.2f} Å, "
        f"FSC 0.5 to the truth {whole:.1f} Å ({masked:.1f} Å in a ball)"
    )


def refined(name: str, trial: Trial, folder: Path) -> str:
    """Refine, and say what it took and reached."""
    module = REFINERS[name]
    params = module.Params(
        initial_low_pass_A=START_A, particle_diameter_A=CHAIN_DIAMETER_A, offset_range_A=OFFSET_RANGE_A
    )
    reference = Volume(trial.truth, PIXEL_A, "C1")
    said: list[str] = []
    context = StageContext(folder / name, on_log=said.append)
    context.workdir.mkdir()
    begun_cpu_s, begun_s = cpu_s(), time.monotonic()
    result = module.refine_3d(trial.stack, reference, None, params, context)
    spent = f"{cpu_s() - begun_cpu_s:.1f} CPU-s, {time.monotonic() - begun_s:.0f} s"
    # What each round left out of the posteriors is in its line.
    rounds = "".join(f"  {line}\n" for line in said if line.startswith("iteration"))
    return f"{rounds}{name}: {spent}; {judged(result, trial)}"


def in_equal_halves(trial: Trial) -> Trial:
    """Micrographs in half-sets by turns: twenty of them drawn by lot leave one half with a third of the particles."""
    particles = trial.stack.particles
    micrograph = np.asarray(particles.column("stack_index")) // PER_MICROGRAPH
    halves = particles.with_columns({"half": (1 + micrograph % 2).astype(np.uint8)})
    return replace(trial, stack=replace(trial.stack, particles=halves))


def main(arguments: list[str]) -> None:
    numbers = [float(text) for text in arguments if text not in REFINERS]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trial = in_equal_halves(projected_c1(folder, numbers[0] if numbers else SNR))
        for name in [text for text in arguments if text in REFINERS] or ["gold", "nonuniform"]:
            sys.stdout.write(refined(name, trial, folder) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
