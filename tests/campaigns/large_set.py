"""Many particles from nothing to a map: ``python tests/campaigns/large_set.py --counts 50000 --boxes 128``.

Particles of apoferritin (`large_particles`) lie in an MRC stack that the stages map and stream. Each stage is the
plugin's own call in a process of its own: `classify` (K = 100), `initial` (O, from nothing), `refine` (O, from that
map). Prints wall and CPU-seconds, peak memory (resident set, mapped pages included), and what was reached: spread of
the views in a class, FSC to the truth, half-map FSC, errors of poses. More than one set gives a fit of the cost.

No projection tells the hand of a first map: maps and poses are judged as they are or mirrored, whichever fits better,
and which it was is said.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import large_particles
import numpy as np

from cryoframe import ParticleStack, StageContext, Volume
from cryoframe.numerics import fsc, rotations, symmetry
from cryoframe_classify import plugin as classify
from cryoframe_initial import ab_initio
from cryoframe_refine import plugin as refine

DIAMETER_A = 150.0
STAGES = ("classify", "initial", "refine")
_POSE = ("rot_deg", "tilt_deg", "psi_deg")
_FLIP = rotations.euler_to_matrix(0.0, 0.0, 180.0)
Run = dict[str, Any]


class Asked(NamedTuple):
    """What may be set of the stages."""

    classes: int = 100
    iterations: int = refine.Params().n_iterations


def run_classify(stack: ParticleStack, folder: Path, context: StageContext, asked: Asked) -> Callable[[], str]:
    params = classify.Params(n_classes=asked.classes, particle_diameter_A=DIAMETER_A)
    result = classify.classify_2d(stack, params, context)
    truth = np.load(folder / "truth.npz")["rotations"]
    return lambda: judge_classes(result, truth)


def judge_classes(result: object, truth: np.ndarray) -> str:
    """Spread of views and in-plane angles within classes, of pairs drawn from them, beside pairs drawn from all."""
    table, rng = result.particles, np.random.default_rng(0)
    label, psi = np.asarray(table.column("class_id")), table.floats("psi_deg")
    still = np.zeros(len(psi))
    laid = rotations.euler_to_matrix(still, still, -psi) @ truth[np.asarray(table.column("stack_index"))]
    order = np.lexsort((rng.random(len(label)), label))
    same = np.flatnonzero(label[order][:-1] == label[order][1:])
    pairs = order[same], order[same + 1]
    error = symmetry.reduce_pose_error(laid[pairs[0]], laid[pairs[1]], "O")
    mixed = rng.permutation(len(label))
    chance = symmetry.reduce_pose_error(laid, laid[mixed], "O")
    count = np.bincount(label, minlength=len(result.averages))
    resolution_A = result.classes.floats("resolution_A")
    return (
        f"{len(count)} classes of {count.min()} to {count.max()}; pairs of a class differ by {np.median(error):.1f}° "
        f"(chance {np.median(chance):.1f}°), {np.mean(error < 15.0):.2f} within 15° ({np.mean(chance < 15.0):.2f}); "
        f"resolution {np.median(resolution_A):.1f} Å (best {resolution_A.min():.1f} Å)"
    )


def run_initial(stack: ParticleStack, folder: Path, context: StageContext, asked: Asked) -> Callable[[], str]:
    params = ab_initio.Params(symmetry="O", particle_diameter_A=DIAMETER_A)
    volume = ab_initio.make_initial_volume(stack, params, context)
    np.save(folder / "initial.npy", volume.data)
    truth = np.load(folder / "truth.npz")["volume"]

    def told() -> str:
        reached_A, mirrored = agreement_A(volume.data, truth)
        return f"FSC 0.5 to the truth {reached_A:.1f} Å{', mirrored' if mirrored else ''}"

    return told


def agreement_A(volume: np.ndarray, truth: np.ndarray) -> tuple[float, bool]:
    """Spacing at which the FSC to the truth falls to 0.5, and whether the mirrored map fits better.

    The axes of O leave no freedom but the hand.
    """
    step_A = large_particles.pixel_A(len(truth))
    said = []
    for one in (volume, mirrored(volume)):
        curve = fsc.fsc_curve(one, truth, pixel_size_A=step_A)
        low = curve.frequency_1_A < 1.0 / 12.0
        said.append((fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.5).resolution_A, -float(curve.fsc[low].sum())))
    best = min((0, 1), key=lambda k: said[k])
    return said[best][0], bool(best)


def mirrored(volume: np.ndarray) -> np.ndarray:
    """The map inverted through its centre."""
    return np.roll(volume[::-1, ::-1, ::-1], 1, axis=(0, 1, 2)) if len(volume) % 2 == 0 else volume[::-1, ::-1, ::-1]


def run_refine(stack: ParticleStack, folder: Path, context: StageContext, asked: Asked) -> Callable[[], str]:
    reference = Volume(np.load(folder / "initial.npy"), stack.pixel_size_A, "O")
    params = refine.Params(particle_diameter_A=DIAMETER_A, n_iterations=asked.iterations)
    result = refine.refine_3d(stack, reference, None, params, context)
    truth = np.load(folder / "truth.npz")

    def told() -> str:
        reached_A, is_mirrored = agreement_A(result.volume.data, truth["volume"])
        table = result.particles
        rows = np.asarray(table.column("stack_index"))
        found = rotations.euler_to_matrix(*(table.floats(name) for name in _POSE))
        # A map inverted through its centre projects as the map itself, turned by 180 degrees in the plane.
        true = _FLIP @ truth["rotations"][rows] if is_mirrored else truth["rotations"][rows]
        error = symmetry.reduce_pose_error(found, true, "O")
        shift = np.stack([table.floats("shift_x_A"), table.floats("shift_y_A")], axis=1)
        off_A = np.linalg.norm(shift - truth["shifts_A"][rows], axis=1)
        half_A = [result.fsc.resolution_A(0.143, curve=curve) for curve in ("fsc_unmasked", "fsc_masked")]
        return (
            f"half-maps 0.143 at {half_A[0]:.2f} Å ({half_A[1]:.2f} Å masked), FSC 0.5 to the truth {reached_A:.2f} Å"
            f"{', mirrored' if is_mirrored else ''}; poses {np.median(error):.2f}° (90 %: "
            f"{np.quantile(error, 0.9):.2f}°), shifts {np.median(off_A):.2f} Å"
        )

    return told


_RUN = {"classify": run_classify, "initial": run_initial, "refine": run_refine}


def measure(name: str, folder: Path, asked: Asked) -> Run:
    """Run one stage in this process: what it took and reached."""
    stack = large_particles.stack(folder)
    work = folder / name
    shutil.rmtree(work, ignore_errors=True)  # a checkpoint would be gone on from
    work.mkdir()
    with (work / "log.txt").open("w") as log:

        def said(line: str) -> None:
            log.write(f"{time.process_time() - begun_cpu_s:8.1f} CPU-s {_peak_MB():7.0f} MB  {line}\n")
            log.flush()

        before_MB, begun_s, begun_cpu_s = _peak_MB(), time.monotonic(), time.process_time()
        told = _RUN[name](stack, folder, StageContext(work, on_log=said), asked)
        taken = {"wall_s": time.monotonic() - begun_s, "cpu_s": time.process_time() - begun_cpu_s}
        return taken | {"before_MB": before_MB, "peak_MB": _peak_MB(), "told": told()}


def _peak_MB() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def in_child(arguments: Sequence[str], n_threads: int) -> str:
    """Last line that this command prints in a process of its own; matrix products take one thread, as in a worker."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | one | {"NUMBA_NUM_THREADS": str(n_threads)}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout.splitlines()[-1]


def fitted(runs: Sequence[Run]) -> list[str]:
    """Power laws of CPU-seconds by stage, in particles and box, and memory a particle."""
    lines = []
    for name in STAGES:
        mine = [run for run in runs if run["stage"] == name]
        table = np.array([(run["count"], run["box"], run["cpu_s"]) for run in mine], dtype=float).reshape(-1, 3)
        varied = [k for k in (0, 1) if len(mine) and np.ptp(table[:, k]) > 0]
        if varied and len(mine) > len(varied):
            design = np.column_stack([np.ones(len(mine)), *(np.log(table[:, k]) for k in varied)])
            found, *_ = np.linalg.lstsq(design, np.log(table[:, 2]), rcond=None)
            off = np.exp(np.abs(design @ found - np.log(table[:, 2])).max())
            powers = " ".join(f"{('N', 'box')[k]}^{power:.2f}" for k, power in zip(varied, found[1:], strict=True))
            lines.append(f"{name}: CPU-s = {np.exp(found[0]):.3g} {powers} (worst point off by {off:.2f})")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Make each set, run the stages, and print what each took and reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2000])
    parser.add_argument("--boxes", type=int, nargs="+", default=[128])
    parser.add_argument("--snr", type=float, default=0.05)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument(
        "--iterations", type=int, default=refine.Params().n_iterations, help="of the refinement at most"
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep sets here, and take those there are")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FOLDER"), help="make, or run a stage, in this process")
    asked = parser.parse_args(argv)
    if asked.one:
        what, folder = asked.one[0], Path(asked.one[1])
        if what == "make":
            large_particles.make(folder, asked.counts[0], asked.boxes[0], asked.snr)
        sys.stdout.write(
            json.dumps({} if what == "make" else measure(what, folder, Asked(asked.classes, asked.iterations))) + "\n"
        )
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        runs = [
            run
            for box in asked.boxes
            for count in asked.counts
            for run in _of_set(asked.folder or Path(temporary), count, box, asked)
        ]
    sys.stdout.write("\n".join(fitted(runs)) + "\n")
    return 0


def _of_set(root: Path, count: int, box: int, asked: argparse.Namespace) -> list[Run]:
    folder = root / f"{count}x{box}"
    folder.mkdir(parents=True, exist_ok=True)
    own = ["--counts", str(count), "--boxes", str(box), "--snr", str(asked.snr), "--classes", str(asked.classes)]
    own += ["--iterations", str(asked.iterations)]
    if not (folder / "defocus.npy").exists():
        in_child(["--one", "make", str(folder), *own], asked.threads)
    runs = []
    for name in asked.stages:
        run = json.loads(in_child(["--one", name, str(folder), *own], asked.threads))
        runs.append(run | {"stage": name, "count": count, "box": box})
        sys.stdout.write(
            f"{count} x {box}², {name}: {run['cpu_s']:.1f} CPU-s, {run['wall_s']:.0f} s (load "
            f"{os.getloadavg()[0]:.1f}), peak {run['peak_MB']:.0f} MB ({run['before_MB']:.0f} before); {run['told']}\n"
        )
        sys.stdout.flush()
    return runs


if __name__ == "__main__":
    raise SystemExit(main())
