"""What goes into a stage and what is accepted from it: conventions, the kernel's own columns, half-sets, schemas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_world import HEAD, World, names, products_of, table_of

from cryoframe.data.images import Classes2D, ParticleStack

pytestmark = pytest.mark.usefixtures("no_discovery")
TWO = ("ctf", "pick", "box")


def _message(world: World, stage: str) -> str:
    """Run a world whose `stage` must fail; return what is said of it."""
    world.n_micrographs, world.extra[stage] = 1, "attempts = 1"
    with world.open() as run:
        run.execute()
        tasks = run.state.tasks(stage, "given_up")
        assert len(tasks) == 1
        return tasks[0].message


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("return table.with_columns({'half': np.ones(len(table), np.uint8)})", "HalfSetError"),
        ("return table.with_columns({'particle_id': np.arange(len(table), dtype=np.uint64)})", "particle_id"),
        ("return table.without(['y_A'])", "no column 'y_A'"),
        ("return table.without(['figure_of_merit'])", "no column 'figure_of_merit'"),
        ("return table.with_columns({'x_A': table.floats('x_A') + 1e6})", "outside the micrograph"),
        ("return table.with_columns({'x_A': np.full(len(table), np.nan)})", "outside the micrograph"),
        ("return table.with_columns({'figure_of_merit': np.full(len(table), np.inf)})", "not finite"),
        ("return table.select([0, 0])", "repeats"),
        ("return table.select([0, 0])", "two picks at ("),
        ("return table.arrow", "returned a Table"),
    ],
)
def test_picks_that_are_not_as_promised__are_refused(tmp_path: Path, statement: str, said: str) -> None:
    assert said in _message(World(tmp_path, body={"pick": statement}), "pick")


def test_picks_nearer_than_the_plugins_own_distance__are_refused(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=1, extra={"pick": "attempts = 1\nparams = { n = 40, min_distance_A = 12.0 }"})
    with world.open() as run:
        run.execute()
        (task,) = run.state.tasks("pick", "given_up")
        assert "min_distance_A = 12.0" in task.message


def test_no_picks__is_a_result_like_any_other(tmp_path: Path) -> None:
    world = World(tmp_path, stages=TWO, extra={"pick": "params = { n = 0 }"}, n_micrographs=1)
    world.body["box"] = "images = np.zeros((0, 8, 8), np.float32)"
    with world.open() as run:
        assert run.execute() == {name: {"done": 1} for name in TWO}
        assert len(table_of(run, "pick")) == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("rows = rows.with_columns({'half': 3 - rows.column('half').astype(np.uint8)})", "HalfSetError"),
        ("rows = rows.with_columns({'micrograph_id': ['x'] * n})", "changed column 'micrograph_id'"),
        ("rows = rows.without(['particle_id'])", "particle_id"),
        ("rows = rows.with_columns({'particle_id': rows.column('particle_id') + np.uint64(1)})", "handed in"),
        ("images = images[:-1]", "3 images for 4 rows"),
        ("images = images.astype(float)", "float32"),
        ("images = images[0]", "2 dimensions"),
        ("images[2, 3, 3] = np.nan", "not finite"),
    ],
)
def test_a_stack_that_is_not_as_promised__is_refused(tmp_path: Path, statement: str, said: str) -> None:
    assert said in _message(World(tmp_path, stages=TWO, body={"box": statement}), "box")


def test_a_stage_over_the_set_that_changes_half__is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, stages=(*TWO, "classes"))
    world.body["classes"] = "rows = rows.with_columns({'half': 3 - stack.particles.column('half').astype(np.uint8)})"
    assert "HalfSetError" in _message(world, "classes")


def test_a_stack_returned_in_another_order__keeps_images_and_rows_together(tmp_path: Path) -> None:
    turned = "rows, images = rows.select(np.arange(n)[::-1]).without(['half', 'micrograph_id']), images[::-1].copy()"
    mark = "images[:, 0, 0] = rows.column('stack_index')"
    world = World(tmp_path, stages=TWO, body={"box": f"{turned}\n    {mark}"}, n_micrographs=2)
    with world.open() as run:
        run.execute()
        for stack in products_of(run, "box"):
            assert isinstance(stack, ParticleStack)
            np.testing.assert_array_equal(stack.images[:, 0, 0], stack.particles.column("stack_index"))
            assert stack.particles.column("stack_index").tolist() == [3, 2, 1, 0]


def test_particles_dropped_in_silence__are_named_all_the_same(tmp_path: Path) -> None:
    world = World(
        tmp_path, stages=TWO, body={"box": "rows, images = rows.select([0, 2]), images[[0, 2]]"}, n_micrographs=1
    )
    with world.open() as run:
        run.execute()
        (task,) = run.state.tasks("box")
        product = run.store.path("box", task.key) / "product"
        (entry,) = json.loads((product / "dropped.json").read_text(encoding="utf-8"))
        picked = table_of(run, "pick").column("particle_id")
        assert entry["particle_id"] == [int(picked[1]), int(picked[3])]
        assert entry["reason"] == "not returned by box"


def test_a_partial_table__is_joined_to_what_was_handed_in(tmp_path: Path) -> None:
    with World(tmp_path, stages=(*TWO, "classes")).open() as run:
        run.execute()
        (classes,) = products_of(run, "classes")
        assert isinstance(classes, Classes2D)
        for group in ("identity", "position", "image", "class"):
            assert classes.particles.has(group)


def test_joined_stacks__have_each_image_beside_its_row(tmp_path: Path) -> None:
    world = World(tmp_path, stages=(*TWO, "classes"), n_micrographs=4)
    world.body["box"] = "images[:, 0, 0] = rows.column('x_A')"
    same = "np.array_equal(np.asarray(stack.images)[:, 0, 0], stack.particles.column('x_A'))"
    world.body["classes"] = f"assert {same}; assert not stack.images.flags.writeable"
    assert world.execute()["classes"] == {"done": 1}


def test_inputs__cannot_be_written_to(tmp_path: Path) -> None:
    world = World(tmp_path, stages=TWO, extra={"pick": "attempts = 1"}, n_micrographs=1)
    world.body["box"] = "particles.column('x_A')[0] = 1.0"
    assert "read-only" in _message(world, "box")


CONVENTION = (
    HEAD
    + """
from cryoframe.data.frames import foreign_columns

CONVENTION = Convention(position_unit="px", y_axis="down", origin="corner")

@dataclass(frozen=True)
class Params:
    pass
"""
)
PICKER = """
@hookimpl
def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:
    columns = {"x_px": [0.5, 10.5], "y_px": [1.5, 20.0], "figure_of_merit": [1.0, 2.0]}
    return ParticleTable.from_columns(columns, extra=foreign_columns(CONVENTION))
"""
BOXER = """
@hookimpl
def extract_particles(
    micrograph: Micrograph, particles: ParticleTable, ctf: CtfFit, params: Params, ctx: StageContext
) -> ParticleStack:
    assert "x_A" not in particles.names
    assert particles.column("x_px").tolist() == [0.5, 10.5]
    assert particles.column("y_px").tolist() == [1.5, 20.0]
    return ParticleStack(np.zeros((2, 8, 8), np.float32), particles, micrograph.pixel_size_A)
"""


def test_a_plugin_of_another_convention__receives_and_returns_just_that(tmp_path: Path) -> None:
    world = World(tmp_path, stages=TWO, n_micrographs=1)
    with world.open() as run:
        (tmp_path / "pick.py").write_text(CONVENTION + PICKER, encoding="utf-8")
        (tmp_path / "box.py").write_text(CONVENTION + BOXER, encoding="utf-8")
        assert run.execute() == {name: {"done": 1} for name in TWO}
        table = table_of(run, "pick")
        np.testing.assert_allclose(table.floats("x_A"), [0.0, 15.0])
        np.testing.assert_allclose(table.floats("y_A"), [1.5, 29.25])
        (stack,) = products_of(run, "box")
        assert isinstance(stack, ParticleStack)
        np.testing.assert_allclose(stack.particles.floats("x_A"), [0.0, 15.0])


def test_identity_of_a_micrograph_and_its_optics__are_the_kernels(tmp_path: Path) -> None:
    world = World(tmp_path, body={"ctf": "return CtfFit('somebody else', 1.0, 1.0, 1.0)"}, n_micrographs=1)
    with world.open() as run:
        run.execute()
        assert products_of(run, "ctf")[0].micrograph_id == "m0.mrc"  # type: ignore[attr-defined]


def test_the_random_stream__depends_on_seed_stage_and_item_alone(tmp_path: Path) -> None:
    values = []
    for seed, out in ((7, "a"), (7, "b"), (8, "c")):
        with World(tmp_path, stages=("ctf",), seed=seed, out=out, n_micrographs=2).open() as run:
            run.execute()
            values.append([fit.defocus_angle_deg for fit in products_of(run, "ctf")])  # type: ignore[attr-defined]
    assert values[0] == values[1]
    assert values[0] != values[2]
    assert values[0][0] != values[0][1]


def test_provenance__names_plugin_parameters_inputs_and_machine(tmp_path: Path) -> None:
    with World(tmp_path, n_micrographs=1, extra={"pick": "params = { n = 3 }"}).open() as run:
        run.execute()
        (task,) = run.state.tasks("pick")
        job = run.store.job("pick", task.key)
        assert job["params"] == {"n": 3, "min_distance_A": 0.0}
        assert job["plugin"]["distribution"] == "local file"
        assert job["inputs"]["ctf"] == [run.state.tasks("ctf")[0].digest]
        assert job["seed"] == 7
        assert job["device"] == "cpu"
        assert "StageFinished" in names(run)


def test_a_file_a_product_names__travels_with_it(tmp_path: Path) -> None:
    from cryoframe.data.results import AtomicModel
    from cryoframe.execution.worker_inputs import part_of
    from cryoframe.execution.worker_results import Notes
    from cryoframe.formats import products

    work, folder = tmp_path / "work", tmp_path / "product"
    work.mkdir()
    folder.mkdir()
    (work / "model.cif").write_text("data_x\n", encoding="utf-8")
    model = AtomicModel("model.cif", ("A",), 0.5)
    products.save(model, folder)
    assert [path.name for path in Notes().write(folder, work, model)] == ["model.cif"]
    found = part_of(str(folder), "")
    assert isinstance(found, AtomicModel)
    assert Path(found.path).read_text(encoding="utf-8") == "data_x\n"


def test_a_product_that_is_not_there__is_said_to_be_missing_and_not_damaged(tmp_path: Path) -> None:
    from cryoframe.errors import Corrupt, Refused
    from cryoframe.execution.worker_inputs import part_of

    for folder, said in ((tmp_path / "no", "is not there"), (tmp_path, "holds no product")):
        with pytest.raises(Refused, match=said) as caught:
            part_of(str(folder), "")
        assert not isinstance(caught.value, Corrupt)
