"""Ab-initio starting maps from many seeds: ``python tests/campaigns/ab_initio_seeds.py N [first] [c1] [d2]``.

`d2`: the 593 real β-galactosidase particles of ../shared/data with D2; a success is an FSC of 0.5 to 5A1A, hand aside,
at 25 Å or finer. `c1`: 1 000 particles of 64² at 3 Å that `relion_project` makes of a 116 kDa chain of it, signal to
noise 0.027; a success is an FSC of 0.5 to the truth, hand aside, at twice what directions 10 degrees apart allow, or
finer. Prints one line a seed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "plugins"))

import betagal  # noqa: E402
import gemmi  # noqa: E402
import numpy as np  # noqa: E402
import relion_views  # noqa: E402
from map_agreement import Agreement, agreement, agreement_d2  # noqa: E402

from cryoframe import ParticleStack, StageContext  # noqa: E402
from cryoframe.formats import mrc  # noqa: E402
from cryoframe.formats.star_products import stack_from_star  # noqa: E402
from cryoframe_initial import ab_initio  # noqa: E402
from cryoframe_model import seed as model_seed  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
PIXEL_A, BOX_PX, SNR, N_PARTICLES = 3.0, 64, 0.027, 1000
CHAIN_DIAMETER_A, TETRAMER_DIAMETER_A = 130.0, 190.0
STEP_RAD = 0.175


@dataclass(frozen=True)
class Trial:
    """Particles, their true map, what is asked of a map, and the parameters it is sought with."""

    stack: ParticleStack
    truth: np.ndarray
    worst_A: float
    params: ab_initio.Params
    compare: Callable[[np.ndarray, np.ndarray, float], Agreement] = agreement
    pose: np.ndarray | None = None  # (n, 5): rot, tilt, psi [degrees], shift x, y [Å] of each image, where known


def real_d2(folder: Path) -> Trial:
    stack = betagal.without_poses(betagal.particles(SHARED, folder))
    truth = betagal.model_map(SHARED, folder, stack).data
    return Trial(
        stack, truth, 25.0, ab_initio.Params(symmetry="D2", particle_diameter_A=TETRAMER_DIAMETER_A), agreement_d2
    )


def projected_c1(folder: Path, snr: float = SNR) -> Trial:
    """Projections of one chain, made by RELION."""
    truth = chain_map(folder)
    mrc.write(folder / "map.mrc", truth, pixel_size_A=PIXEL_A)
    rng = np.random.default_rng(11)
    n = N_PARTICLES
    u = rng.uniform(8000, 25000, n)
    ctf = np.stack([u, u - rng.uniform(0, 600, n), rng.uniform(0, 180, n), np.zeros(n)], axis=1)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, n)))
    pose = np.column_stack([rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n), rng.normal(0, 4.0, (n, 2))])

    def rows(stack: str, posed: bool):
        for i in range(n):
            numbers = [*(pose[i] if posed else ()), *ctf[i]]
            yield [f"mic{i // 50:03d}.mrc", "1", *(f"{value:.4f}" for value in numbers), f"{i + 1:06d}@{stack}"]

    plain = relion_views.PLAIN
    star(folder / "in.star", (*plain[:2], *relion_views.POSED, *plain[2:]), rows("dummy.mrcs", True))
    project = ["relion_project", "--i", "map.mrc", "--ang", "in.star", "--ctf", "--angpix", str(PIXEL_A)]
    subprocess.run([*project, "--o", "clean"], cwd=folder, check=True, capture_output=True)
    sigma = float(relion_views.images_of(folder / "clean.mrcs").std()) / np.sqrt(snr)
    noisy = [*project, "--o", "noisy", "--add_noise", "--white_noise", f"{sigma:.4f}"]
    subprocess.run(noisy, cwd=folder, check=True, capture_output=True)
    images = (relion_views.images_of(folder / "noisy.mrcs") / sigma).astype(np.float32)
    mrc.write(folder / "parts.mrcs", images, pixel_size_A=PIXEL_A)
    star(folder / "parts.star", plain, rows("parts.mrcs", False))
    stack = stack_from_star(folder / "parts.star", images_path=folder / "parts.raw")
    params = ab_initio.Params(particle_diameter_A=CHAIN_DIAMETER_A)
    return Trial(stack, truth, 2 * STEP_RAD * CHAIN_DIAMETER_A, params, pose=pose)


def chain_map(folder: Path) -> np.ndarray:
    structure = gemmi.read_structure(str(SHARED / "models" / "5a1a.cif"))
    model = structure[0]
    for name in [chain.name for chain in model][1:]:
        model.remove_chain(name)
    structure.assemblies.clear()
    structure.make_mmcif_document().write_file(str(folder / "chain.cif"))
    one = betagal.particles(SHARED, folder).particles.select(np.array([0])).without(["pixel_size_A"])
    blank = ParticleStack(np.zeros((1, BOX_PX, BOX_PX), np.float32), one, PIXEL_A)
    params = model_seed.Params(model=folder / "chain.cif", assembly="", low_pass_A=2.0 * PIXEL_A)
    return model_seed.make_initial_volume(blank, params, StageContext(folder)).data


def star(path: Path, names, rows) -> None:
    relion_views.star(path, names, rows)
    path.write_text(path.read_text().replace(f" {relion_views.PIXEL_A} ", f" {PIXEL_A} "))


def attempt(trial: Trial, seed: int, folder: Path) -> tuple[bool, str]:
    begun = time.process_time()
    context = StageContext(folder, seed=seed)
    volume = ab_initio.make_initial_volume(trial.stack, trial.params, context)
    spent = time.process_time() - begun
    found = trial.compare(trial.truth, volume.data, trial.stack.pixel_size_A)
    good = found.resolution_A <= trial.worst_A
    said = "success" if good else "FAILURE"
    hand = "mirrored" if found.is_mirrored else "right hand"
    return good, (
        f"seed {seed}: {said}, FSC 0.5 at {found.resolution_A:.1f} Å ({trial.worst_A:.0f} Å asked for), "
        f"correlation {found.correlation:.3f}, {hand}, {spent:.1f} CPU-s"
    )


TRIALS: dict[str, Callable[[Path], Trial]] = {"c1": projected_c1, "d2": real_d2}


def main(arguments: list[str]) -> None:
    numbers = [int(text) for text in arguments if text.isdigit()]
    n_seeds, first = (*numbers, 20, 0)[:2] if len(numbers) != 1 else (numbers[0], 0)
    for name in [text for text in arguments if text in TRIALS] or list(TRIALS):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            trial, n_good = TRIALS[name](folder), 0
            for seed in range(first, first + n_seeds):
                good, line = attempt(trial, seed, folder)
                n_good += good
                sys.stdout.write(f"{name} {line}\n")
                sys.stdout.flush()
            sys.stdout.write(f"{name}: {n_good} of {n_seeds} seeds succeed\n")


if __name__ == "__main__":
    main(sys.argv[1:])
