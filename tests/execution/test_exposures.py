"""The table of exposures follows from the log: after any kill, and with the log lost, it is that of a quiet run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from run_world import World

from cryoframe.data.tables import ExposureTable
from cryoframe.execution.exposures import TABLE, exposures, write
from cryoframe.execution.run import Run
from cryoframe.records import crash, events, rebuild

pytestmark = pytest.mark.usefixtures("no_discovery")
STAGES = ("ctf", "pick", "box")
#: One place of each kind: before and after the commit, in the journal, when an attempt has ended.
POINTS = ("runner.outcome", "runner.before_commit", "store.renamed", "runner.committed", "journal.inserted")
#: Differ from run to run, and say so.
MOMENTS = ("path", "landed_utc", "admitted_utc", "finished_utc")
Rows = list[dict[str, str | int | float | bool | None]]


def rows_of(run: Run) -> Rows:
    """Return the table's rows without what is of the moment."""
    return [{k: v for k, v in row.items() if k not in MOMENTS} for row in exposures(run.state).rows()]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    with World(tmp_path_factory.mktemp("quiet"), STAGES).open() as run:
        run.execute()
        return rows_of(run)


def test_every_stage__has_said_its_part(quiet: Rows) -> None:
    assert [row["micrograph_id"] for row in quiet] == ["m0.mrc", "m1.mrc", "m2.mrc"]
    for row in quiet:
        assert (row["status"], row["defocus_u_A"], row["n_picks"], row["n_particles"]) == ("done", 10030.0, 4, 4)
        assert row["ctf_accepted"] is True
        assert str(row["picks_png"]).startswith("stages/pick/")
        assert row["motion_total_A"] is None


def test_the_bus__says_figures_and_pictures_with_their_digests(tmp_path: Path) -> None:
    with World(tmp_path, STAGES, n_micrographs=1).open() as run:
        heard: list[events.ProductDescribed] = []
        run.bus.subscribe(events.ProductDescribed, heard.append)
        run.execute()
        said = {event.stage_id: event for event in heard}
        assert {stage: event.kind for stage, event in said.items()} == {
            "ctf": "CtfFit", "pick": "ParticleTable", "box": "ParticleStack"
        }  # fmt: skip
        assert said["pick"].figures == {"n_picks": 4}
        (name,) = said["pick"].pictures
        assert (run.folder / said["pick"].path / name).read_bytes()[:4] == b"\x89PNG"
        job = run.store.job("pick", said["pick"].key)
        assert job["files"][f"shown/{name}"] == said["pick"].pictures[name]
        assert run.store.verify() == []


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_place__the_table_is_that_of_a_quiet_run(quiet: Rows, tmp_path: Path, point: str) -> None:
    driver = [sys.executable, str(Path(__file__).with_name("killed_runs.py"))]
    world = {"stages": STAGES}
    order = {"folder": str(tmp_path), "world": world, "environment": {crash.VARIABLE: point}, "kill_s": 0.0}
    done = subprocess.run(driver, input=json.dumps(order) + "\n", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "137"
    with World(tmp_path, STAGES).open() as run:
        run.execute()
        assert rows_of(run) == quiet


def test_with_the_log_lost__the_products_say_it_again(quiet: Rows, tmp_path: Path) -> None:
    world = World(tmp_path, STAGES)
    world.execute()
    for path in (tmp_path / "out").glob("state.sqlite*"):
        path.unlink()
    assert rebuild.rebuild(tmp_path / "out").n_adopted > 0
    with world.open() as run:
        run.execute()
        assert rows_of(run) == quiet


def test_what_is_refused_given_up_or_disputed__is_in_its_row_with_the_reason(tmp_path: Path) -> None:
    body = {"ctf": 'if micrograph.micrograph_id == "m1.mrc": raise Refused("no rings", path="m1.mrc")'}
    world = World(tmp_path, STAGES, pixel_size_A=2.0, body=body)
    world.write()
    (world.raw / "torn.mrc").write_bytes(b"\0" * 100)
    with world.open() as run:
        run.execute()
        first, second, third, torn = exposures(run.state).rows()
    assert [row["status"] for row in (first, second, third, torn)] == ["done", "set_aside", "done", "refused"]
    assert "no rings" in str(second["reason"])
    assert torn["reason"]
    for row in (first, second, third):
        assert "pixel_size_A is 1.5 by the file's header and 2 by the configuration, which is used" in str(
            row["warnings"]
        )


def test_a_picture_that_cannot_be_drawn__costs_the_picture_alone(tmp_path: Path) -> None:
    spectrum = "return CtfFit(micrograph.micrograph_id, 1e4, 9e3, 0.0, spectrum=np.zeros((2, 2, 2), np.float32))"
    with World(tmp_path, ("ctf",), n_micrographs=1, body={"ctf": spectrum}).open() as run:
        assert run.execute() == {"ctf": {"done": 1}}
        (row,) = exposures(run.state).rows()
    assert (row["status"], row["ctf_png"], row["defocus_u_A"]) == ("done", None, 10000.0)


def test_the_file__is_replaced_whole(tmp_path: Path) -> None:
    with World(tmp_path, ("ctf",), n_micrographs=1).open() as run:
        write(run.state, run.folder / TABLE)
        assert len(ExposureTable.read(run.folder / TABLE)) == 0
        run.execute()
        write(run.state, run.folder / TABLE)
        assert ExposureTable.read(run.folder / TABLE).rows()[0]["status"] == "done"
        assert [path.name for path in run.folder.glob(".*.part")] == []
