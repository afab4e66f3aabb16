"""Whole runs in this process: what is done, what is not done twice, what is left out, and who is in charge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_world import World, digests, names, products_of, table_of

from cryoframe.data.ids import half_of
from cryoframe.data.images import Classes2D
from cryoframe.data.maps import Volume
from cryoframe.errors import ConfigError, FileError, PluginError, StoreError
from cryoframe.execution.run import Run
from cryoframe.formats import mrc

pytestmark = pytest.mark.usefixtures("no_discovery")
ALL = ("ctf", "pick", "box", "classes", "select", "start")


def test_a_plan_of_six_stages__runs_from_files_to_a_map(tmp_path: Path) -> None:
    world = World(tmp_path, stages=ALL)
    with world.open() as run:
        counts = run.execute()
        assert counts == {name: {"done": 3 if name in ("ctf", "pick", "box") else 1} for name in ALL}
        (classes,) = products_of(run, "classes")
        assert isinstance(classes, Classes2D)
        assert len(classes.particles) == 12
        assert classes.particles.has("position")
        assert classes.particles.has("class")


def test_a_selection__is_laid_over_the_stack_of_later_stages(tmp_path: Path) -> None:
    with World(tmp_path, stages=ALL).open() as run:
        run.execute()
        assert run.state.metrics("start", "set")["n_images"][0] == 6
        (volume,) = products_of(run, "start")
        assert isinstance(volume, Volume)
        assert float(volume.data.mean()) == 1.0


def test_dropped_particles__are_written_down_with_the_reason(tmp_path: Path) -> None:
    with World(tmp_path, stages=ALL).open() as run:
        run.execute()
        task = run.state.tasks("select")[0]
        text = (run.store.path("select", task.key) / "product" / "dropped.json").read_text(encoding="utf-8")
    (entry,) = json.loads(text)
    assert entry["reason"] == "class not chosen"
    assert len(entry["particle_id"]) == len(entry["value"]) == 6


def test_a_second_execution__starts_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, stages=ALL)
    world.execute()
    with world.open() as run:
        before = names(run)
        run.execute()
        assert "StageStarted" not in names(run)[len(before) :]
        assert "StageQueued" not in names(run)[len(before) :]


def test_a_renamed_and_a_moved_file__redo_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, stages=ALL)
    world.execute()
    (world.raw / "m0.mrc").rename(world.raw / "other.mrc")
    world.n_micrographs = 0
    with world.open() as run:
        before = len(names(run))
        run.execute()
        assert "StageStarted" not in names(run)[before:]
        item = run.state.item("m0.mrc")
        assert item is not None
        assert item.path == str(world.raw / "other.mrc")


def test_a_copy_of_a_file__is_a_duplicate_and_redoes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.execute()
    shutil.copy(world.raw / "m0.mrc", world.raw / "z.mrc")
    with world.open() as run:
        before = len(names(run))
        run.execute()
        assert "StageStarted" not in names(run)[before:]
        assert run.state.file_counts() == {"settled": 3, "duplicate": 1}


def test_one_changed_byte__redoes_that_item_and_what_depends_on_it(tmp_path: Path) -> None:
    world = World(tmp_path, stages=ALL)
    with world.open() as run:
        run.execute()
        old = digests(run)
    raw = bytearray((world.raw / "m1.mrc").read_bytes())
    raw[-2] ^= 0x41
    (world.raw / "m1.mrc").write_bytes(raw)
    with world.open() as run:
        before = len(names(run))
        run.execute()
        events = list(run.journal.replay())[before:]
        new = digests(run)
    started = sorted((event.stage_id, event.item_id) for event in events if type(event).__name__ == "StageStarted")  # type: ignore[attr-defined]
    single = [(stage, "m1.mrc") for stage in ("box", "ctf", "pick")]
    # The ids of the picks follow the content, so everything over the set has other inputs and is done again.
    assert started == sorted([*single, *((stage, "set") for stage in ("classes", "select", "start"))])
    assert {name: new[name] for name in new if "m1" not in name and "/set" not in name} == {
        name: old[name] for name in old if "m1" not in name and "/set" not in name
    }
    assert "FileSuperseded" in [type(event).__name__ for event in events]


def test_a_changed_parameter__redoes_its_stage_and_those_after_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.execute()
    world.extra["pick"] = "params = { n = 5 }"
    with world.open() as run:
        before = len(names(run))
        run.execute()
        started = [event for event in list(run.journal.replay())[before:] if type(event).__name__ == "StageStarted"]
        assert {event.stage_id for event in started} == {"pick"}  # type: ignore[attr-defined]
        assert len(table_of(run, "pick")) == 15


def test_a_changed_plugin_file__redoes_its_stage(tmp_path: Path) -> None:
    world = World(tmp_path, stages=("ctf",))
    world.execute()
    world.body["ctf"] = "x = 1"
    with world.open() as run:
        before = len(names(run))
        run.execute()
        assert names(run)[before:].count("StageFinished") == 3


def test_another_pixel_size__redoes_everything(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.execute()
    world.pixel_size_A = 1.6
    with world.open() as run:
        before = len(names(run))
        run.execute()
        assert names(run)[before:].count("StageFinished") == 6


def test_a_product_removed_by_hand__is_made_again_and_is_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.open() as run:
        run.execute()
        old = digests(run)
        shutil.rmtree(run.store.path("ctf", run.state.tasks("ctf")[0].key))
    with world.open() as run:
        run.execute()
        assert digests(run) == old


def test_a_lost_database__is_found_again_in_the_store_without_work(tmp_path: Path) -> None:
    world = World(tmp_path, stages=ALL)
    with world.open() as run:
        run.execute()
        old = digests(run)
    for path in (tmp_path / "out").glob("state.sqlite*"):
        path.unlink()
    with world.open() as run:
        run.execute()
        assert digests(run) == old
        assert names(run).count("StageSkipped") == 12
        assert "StageStarted" not in names(run)


def test_identity_and_half_of_picks__are_the_kernels(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=6)
    with world.open() as run:
        run.execute()
        table = table_of(run, "pick")
        assert len(set(table.column("particle_id").tolist())) == 24
        for item in run.state.items():
            rows = table.select(table.column("micrograph_id") == item.item_id)
            assert set(rows.column("half").tolist()) == {half_of(item.digest, world.seed)}
            assert set(rows.column("optics_group").tolist()) == {"opticsGroup1"}


def test_a_damaged_file__is_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write()
    (world.raw / "cut.mrc").write_bytes((world.raw / "m0.mrc").read_bytes()[:-100])
    with world.open() as run:
        assert run.execute()["ctf"] == {"done": 3}
        (row,) = run.state.files("rejected")
        assert row.path == "cut.mrc"
        assert row.reason.startswith("Incomplete")


def test_a_file_nobody_reads__is_an_error_of_the_file(tmp_path: Path) -> None:
    with World(tmp_path).open() as run:
        path = tmp_path / "raw" / "text.mrc"
        path.write_text("not an image", encoding="utf-8")
        with pytest.raises(FileError):
            run.admit_file(path, "Micrograph")


def test_a_second_process__is_refused_and_told_who_is_in_charge(tmp_path: Path) -> None:
    import os

    world = World(tmp_path)
    with world.open() as run, pytest.raises(StoreError, match=f"process {os.getpid()} on"):
        Run(run.config, run.plugins)


def test_a_closed_run__can_be_opened_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(3):
        with world.open() as run:
            assert names(run)[-1] == "RunOpened"


def test_patterns_that_match_nothing__are_an_error(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=0)
    with world.open() as run, pytest.raises(ConfigError, match="match nothing"):
        run.execute()


def test_a_plugin_that_cannot_be_imported__stops_a_batch_before_it_begins(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write()
    STAGE = "\nraise RuntimeError('no licence')\n"
    path = tmp_path / "ctf.py"
    with world.open() as run:
        path.write_text(path.read_text(encoding="utf-8") + STAGE, encoding="utf-8")
        with pytest.raises(PluginError, match="no licence"):
            run.execute()
        assert "StageStarted" not in names(run)


def test_in_a_live_session__a_plugin_that_cannot_be_imported_is_left_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write()
    path = tmp_path / "pick.py"
    with world.open() as run:
        path.write_text(path.read_text(encoding="utf-8") + "\nraise RuntimeError('no licence')\n", encoding="utf-8")
        runner = run.runner(live=True)
        run.admit_inputs()
        while runner.step():
            pass
        assert run.state.task_counts() == {"ctf": {"done": 3}}
        assert "PluginRefused" in names(run)


def test_a_wrong_parameter__is_named_before_anything_starts(tmp_path: Path) -> None:
    world = World(tmp_path, extra={"pick": "params = { nn = 5 }"})
    with world.open() as run, pytest.raises(PluginError, match="did you mean 'n'"):
        run.execute()


def test_stages_over_the_set__wait_for_the_end_of_a_live_session(tmp_path: Path) -> None:
    world = World(tmp_path, stages=("ctf", "pick", "box", "classes"))
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        while runner.step():
            pass
        assert "classes" not in run.state.task_counts()
        runner.live = False
        runner.run_until_idle()
        assert run.state.task_counts()["classes"] == {"done": 1}


def test_every__runs_a_stage_over_the_set_again_when_enough_items_are_new(tmp_path: Path) -> None:
    world = World(tmp_path, stages=("ctf", "pick", "box", "classes"), extra={"classes": "every = 2"}, n_micrographs=5)
    with world.open() as run:
        runner = run.runner(live=True)
        sizes = []
        for path in sorted(world.raw.iterdir()):
            run.admit_file(path, "Micrograph", root=world.raw)
            while runner.step():
                pass
            tasks = run.state.tasks("classes", "done")
            sizes.append(len(run.store.load("classes", tasks[0].key).particles) if tasks else 0)  # type: ignore[attr-defined]
        assert sizes == [0, 8, 8, 16, 16]
        runner.live = False
        runner.run_until_idle()
        assert len(products_of(run, "classes")[0].particles) == 20  # type: ignore[attr-defined]


def test_order_of_arrival__does_not_matter(tmp_path: Path) -> None:
    found = []
    for number, order in enumerate(([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0])):
        world = World(tmp_path, stages=ALL, n_micrographs=4, out=f"out{number}")
        with world.open() as run:
            runner = run.runner(live=True)
            for at in order:
                run.admit_file(world.raw / f"m{at}.mrc", "Micrograph", root=world.raw)
                runner.step()
            runner.live = False
            runner.run_until_idle()
            found.append(digests(run))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 15


def test_every_number_of_workers_and_either_executor__gives_the_same_products(tmp_path: Path) -> None:
    found = []
    for executor, workers in (("inline", 1), ("processes", 1), ("processes", 2), ("processes", 4)):
        world = World(
            tmp_path, stages=ALL, n_micrographs=5, executor=executor, workers=workers, out=f"{executor}{workers}"
        )
        with world.open() as run:
            run.execute()
            found.append(digests(run))
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 18


def test_particles_and_a_map_from_files__are_brought_into_the_store_once(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    mrc.write(tmp_path / "p.mrcs", images, pixel_size_A=2.0, is_stack=True)
    mrc.write(tmp_path / "ref.mrc", np.ones((8, 8, 8), np.float32), pixel_size_A=2.0)
    rows = "".join(f"{at + 1}@p.mrcs mic{at % 2}.mrc 1 {10 * at}.0 {5 * at}.0\n" for at in range(5))
    star = (
        "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n_rlnVoltage #3\n"
        "_rlnSphericalAberration #4\n_rlnAmplitudeContrast #5\n_rlnImagePixelSize #6\n"
        "_rlnMicrographOriginalPixelSize #7\n"
        "g1 1 200 1.4 0.1 2.0 1.0\n\n"
        "data_particles\n\nloop_\n_rlnImageName #1\n_rlnMicrographName #2\n_rlnOpticsGroup #3\n"
        f"_rlnCoordinateX #4\n_rlnCoordinateY #5\n{rows}"
    )
    (tmp_path / "p.star").write_text(star, encoding="utf-8")
    world = World(tmp_path, stages=("classes",))
    path = world.write()
    text = path.read_text(encoding="utf-8")
    start, end = text.index("[micrographs]"), text.index("[[stage]]")
    inputs = '[particles]\nfile = "p.star"\n[volumes]\nfile = "ref.mrc"\n'
    path.write_text(text[:start] + inputs + text[end:], encoding="utf-8")
    from cryoframe.kernel.config import load
    from cryoframe.kernel.discovery import local_offers
    from cryoframe.kernel.plugins import Plugins

    config = load(path)
    for _ in range(2):
        with Run(config, Plugins(local_offers(config.plugin_files))) as run:
            assert run.execute() == {"classes": {"done": 1}}
            (classes,) = products_of(run, "classes")
            assert isinstance(classes, Classes2D)
            np.testing.assert_allclose(classes.averages[0], images[::2].mean(axis=0), rtol=1e-6)
            table = classes.particles
            assert set(table.column("half").tolist()) <= {1, 2}
            assert table.column("optics_group").tolist() == ["g1"] * 5
            assert [item.kind for item in run.state.items()] == ["ParticleStack", "Volume"]
            volume = run.store.load("input-volumes", str(run.state.items("Volume")[0].facts["key"]))
            assert volume.provenance == "reference-derived: ref.mrc"  # type: ignore[attr-defined]
            assert names(run).count("StageFinished") == 1


def test_status__counts_and_names_what_was_given_up(tmp_path: Path) -> None:
    world = World(tmp_path, body={"ctf": "if micrograph.micrograph_id == 'm1.mrc': raise ValueError('odd grid')"})
    with world.open() as run:
        run.execute()
        status = run.status()
    assert status["files"] == {"settled": 3}
    assert status["tasks"] == {"ctf": {"done": 2, "given_up": 1}, "pick": {"done": 2}}
    ((stage, item, message),) = status["given_up"]  # type: ignore[misc]
    assert (stage, item) == ("ctf", "m1.mrc")
    assert "odd grid" in message


def test_a_file_rewritten_after_it_was_admitted__gives_no_product_under_the_old_key(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=1)
    with world.open() as run:
        run.admit_inputs()
        path = world.raw / "m0.mrc"
        raw = bytearray(path.read_bytes())
        raw[-2] ^= 0x41
        path.write_bytes(raw)
        runner = run.runner()
        runner.run_until_idle()
        (task,) = run.state.tasks("ctf")
        assert task.status == "given_up"
        assert "changed after it was admitted" in task.message
        assert run.execute() == {"ctf": {"done": 1}, "pick": {"done": 1}}


def test_a_file_out_of_reach__is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=1)
    with world.open() as run:
        run.admit_inputs()
        runner = run.runner(live=True)
        (world.raw / "m0.mrc").rename(tmp_path / "away")
        for _ in range(30):
            assert runner.step(0.01)
        (tmp_path / "away").rename(world.raw / "m0.mrc")
        while runner.step():
            pass
        assert run.state.task_counts() == {"ctf": {"done": 1}, "pick": {"done": 1}}
