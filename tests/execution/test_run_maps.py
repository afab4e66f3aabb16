"""The back half of a run with trivial stages: parts of products are wired, halves stay apart, origins carried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_world import HEAD, STAGES, World, products_of

from cryoframe.data.maps import Mask
from cryoframe.data.results import Refinement, SharpenedMap

pytestmark = pytest.mark.usefixtures("no_discovery")
PARAMS = """
@dataclass(frozen=True)
class Params:
    value: int = 1  # any

@hookimpl
"""
REFINE = (
    HEAD
    + "from cryoframe import FscTable, HalfMaps, IterationTable, Mask, Refinement\n"
    + PARAMS
    + """
def refine_3d(
    stack: ParticleStack, reference: Volume, mask: Mask | None, params: Params, ctx: StageContext
) -> Refinement:
    assert mask is None
    half = stack.particles.column("half")
    maps = [Volume(np.full_like(reference.data, (half == number).sum()), 1.5) for number in (1, 2)]
    n = len(half)
    pose = {name: np.zeros(n) for name in ("rot_deg", "tilt_deg", "psi_deg", "shift_x_A", "shift_y_A", "pose_score")}
    rows = ParticleTable.from_columns({"particle_id": stack.particles.column("particle_id"), **pose})
    curve = {name: np.ones(3) for name in ("frequency_1_A", "fsc_unmasked", "fsc_masked", "fsc_corrected")}
    fsc = FscTable.from_columns(curve | {"n_voxels": np.arange(3)})
    return Refinement(reference, HalfMaps(*maps), fsc, rows, IterationTable.empty())
"""
)
MASK = (
    HEAD
    + "from cryoframe import Mask\n"
    + PARAMS
    + """
def make_mask(volume: Volume, params: Params, ctx: StageContext) -> Mask:
    return Mask(np.ones_like(volume.data), volume.pixel_size_A)
"""
)
POST = (
    HEAD
    + "from cryoframe import FscTable, HalfMaps, Mask, SharpenedMap\n"
    + PARAMS
    + """
def postprocess(half_maps: HalfMaps, mask: Mask, params: Params, ctx: StageContext) -> SharpenedMap:
    mean = 0.5 * (half_maps.first.data + half_maps.second.data) * mask.data
    return SharpenedMap(Volume(mean.astype(np.float32), 1.5), 50.0, FscTable.empty())
"""
)
NEW = {"refine": ("refine_3d", REFINE), "mask": ("make_mask", MASK), "post": ("postprocess", POST)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, (hook, source) in NEW.items():
        monkeypatch.setitem(STAGES, name, (hook, source.replace("{", "{{").replace("}", "}}")))
    stages = ("ctf", "pick", "box", "classes", "select", "start", "refine", "mask", "post")
    return World(tmp_path, stages=stages, n_micrographs=8)


def test_parts_of_a_refinement__reach_the_stages_that_want_them(world: World) -> None:
    with world.open() as run:
        assert run.execute()["post"] == {"done": 1}
        (refined,) = products_of(run, "refine")
        (sharpened,) = products_of(run, "post")
        (mask,) = products_of(run, "mask")
    assert isinstance(refined, Refinement)
    assert isinstance(sharpened, SharpenedMap)
    assert isinstance(mask, Mask)
    counts = [int(half.data.flat[0]) for half in (refined.half_maps.first, refined.half_maps.second)]
    assert sum(counts) == len(refined.particles) == 16
    assert counts == [int((refined.particles.column("half") == number).sum()) for number in (1, 2)]
    assert refined.particles.has("pose")
    assert refined.particles.has("class")
    np.testing.assert_allclose(sharpened.volume.data, 8.0)


def test_a_map_that_came_from_a_reference__marks_every_map_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, source = STAGES["start"]
    marked = source.replace("stack.pixel_size_A)", "stack.pixel_size_A, provenance='reference-derived: x')")
    monkeypatch.setitem(STAGES, "start", (hook, marked))
    with world.open() as run:
        run.execute()
        (refined,) = products_of(run, "refine")
        (sharpened,) = products_of(run, "post")
    assert isinstance(refined, Refinement)
    assert isinstance(sharpened, SharpenedMap)
    for volume in (refined.volume, refined.half_maps.first, refined.half_maps.second, sharpened.volume):
        assert volume.provenance.startswith("reference-derived")
