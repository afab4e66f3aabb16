"""From all real picks to a map, unattended: ``python tests/campaigns/picks_to_map.py [FOLDER]``.

Runs examples/picks_to_map on the 1 157 picks of ../shared/data, junk included, then holds the refined map and its
mirror image against 5A1A and says which hand it has. A run that is already in FOLDER is taken up where it stands.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "plugins"))

import betagal  # noqa: E402
import numpy as np  # noqa: E402

from cryoframe import ParticleStack, Refinement, Run  # noqa: E402
from cryoframe.numerics import fsc, hand  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
PICKS = SHARED / betagal.FOLDER / "all_picks_dev_1157_ctf_from_tutorial.star"
EXAMPLE = ROOT / "examples" / "picks_to_map" / "picks_to_map.toml"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def configured(folder: Path) -> Path:
    """The example's configuration with the real picks in it, in a folder of its own."""
    text = EXAMPLE.read_text(encoding="utf-8").replace('"picks.star"', f'"{PICKS}"')
    path = folder / EXAMPLE.name
    path.write_text(text.replace('"runs/picks"', f'"{folder / "run"}"'), encoding="utf-8")
    return path


def product(run: Run, stage: str):
    (task,) = run.state.tasks(stage, "done")
    return run.store.load(stage, task.key)


def judge(refined: Refinement, folder: Path) -> hand.HandVerdict:
    """Hold the map against the model and say what it is worth."""
    pixel_A, n = refined.volume.pixel_size_A, refined.volume.data.shape[0]
    box = ParticleStack(np.zeros((1, n, n), np.float32), refined.particles.select([0]), pixel_A)
    model = betagal.model_map(SHARED, folder, box).data
    mask = betagal.ball(n, pixel_A)
    verdict = hand.hand_against(refined.volume.data, model, "D2", pixel_size_A=pixel_A)
    masked = hand.hand_against(refined.volume.data * mask, model * mask, "D2", pixel_size_A=pixel_A)
    halves = (refined.half_maps.first.data, refined.half_maps.second.data)
    curves = [fsc.fsc_curve(*halves, pixel_size_A=pixel_A, mask=of) for of in (None, mask)]
    bare_A, masked_A = (fsc.resolution_at(curve.frequency_1_A, curve.fsc, 0.143).resolution_A for curve in curves)
    say(
        f"hand: {verdict.hand} (FSC 0.5 to 5A1A at {verdict.as_it_is_A:.2f} Å as it is, {verdict.mirror_image_A:.2f} Å "
        f"mirrored; within a ball of 80 Å {masked.as_it_is_A:.2f} and {masked.mirror_image_A:.2f} Å)"
    )
    say(f"half-maps, FSC 0.143: {bare_A:.2f} Å, within the ball {masked_A:.2f} Å; before: {refined.volume.provenance}")
    return verdict


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Run.open(configured(folder)) as run:
        run.execute()
        classes, chosen, refined = (product(run, stage) for stage in ("classes", "choice", "refine"))
    spent = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    say(f"{len(classes.particles)} picks in {len(classes.classes)} classes, {len(chosen)} particles kept")
    verdict = judge(refined, folder)
    say(f"after hand choice: FSC 0.5 to 5A1A at {verdict.resolution_A:.2f} Å (10 Å asked for); {spent:.0f} CPU-s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
