"""A new configuration in a run at work: swapped stages are done anew, the others keep what they have, or nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_world import World, names

from cryoframe.errors import ConfigError, PluginError
from cryoframe.execution.run import Run
from cryoframe.kernel import discovery
from cryoframe.kernel.config import load
from cryoframe.records.session_events import ConfigRefused, StageSwapped

pytestmark = pytest.mark.usefixtures("no_discovery")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "scan", lambda: ())


def _swapped(run: Run) -> list[str]:
    return [event.stage_id for event in run.journal.replay() if isinstance(event, StageSwapped)]


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_an_edited_plugin__is_what_runs_and_what_is_recorded(tmp_path: Path, executor: str) -> None:
    world = World(tmp_path, stages=("ctf",), executor=executor)
    with world.open() as run:
        run.runner(live=True)
        run.admit_inputs()
        run.runner(live=True).run_until_idle()
        before = [run.store.load("ctf", task.key) for task in run.state.tasks("ctf", "done")]
        world.body["ctf"] = "return CtfFit(micrograph.micrograph_id, 77.0, 66.0, 0.0)"
        world.write()
        assert "[[stage]] ctf" in run.reload()
        run.runner(live=True).run_until_idle()
        tasks = run.state.tasks("ctf", "done")
        after = [run.store.load("ctf", task.key) for task in tasks]
        assert len(before) == len(after) == 3
        assert {fit.defocus_u_A for fit in after} == {77.0}  # type: ignore[attr-defined]
        assert 77.0 not in {fit.defocus_u_A for fit in before}  # type: ignore[attr-defined]
        n_started = names(run).count("StageStarted")
        world.body = {}
        world.write()
        run.reload()
        run.runner(live=True).run_until_idle()
        assert names(run).count("StageStarted") == n_started, "what was made before is in the store still"
        assert _swapped(run) == ["ctf", "ctf"]


def test_a_stage_that_did_not_change__goes_on_undisturbed_and_one_that_did_is_stopped(tmp_path: Path) -> None:
    wait = "import time\n    while not Path({!r}).exists(): time.sleep(0.02)".format(str(tmp_path / "go"))
    world = World(tmp_path, n_micrographs=1, executor="processes", body={"ctf": wait})
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        while not runner.running():
            runner.step(0.01)
        world.extra["pick"] = "params = {n = 9}"
        world.write()
        changes = run.reload()
        assert "[[stage]] pick" in changes
        assert "[[stage]] ctf" not in changes
        assert runner.running() == [("ctf", "m0.mrc")]
        (tmp_path / "go").touch()
        runner.run_until_idle()
        assert names(run).count("StageFailed") == 0
        (pick,) = run.state.tasks("pick", "done")
        assert len(run.store.load("pick", pick.key)) == 9  # type: ignore[arg-type]
        (tmp_path / "go").unlink()
        (tmp_path / "raw" / "late.mrc").write_bytes((tmp_path / "raw" / "m0.mrc").read_bytes()[:-4] + b"\0\0\0\1")
        run.admit_inputs()
        while not runner.running():
            runner.step(0.01)
        world.body["ctf"] = "pass"
        world.write()
        assert "[[stage]] ctf" in run.reload()
        runner.run_until_idle()  # it would wait for ever for what the old one waited for
        assert run.state.task_counts()["pick"] == {"done": 2}
        assert run.state.task_counts()["ctf"] == {"done": 2}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("seed = 7", "seed = 8"), ConfigError, r"\[run\] seed cannot change"),
        (("[[stage]]", "[[stag]]"), ConfigError, "stage"),
        (('use = "ctf"', 'use = "ctv"'), ConfigError, "no implementation 'ctv'"),
        (('use = "ctf"\n', 'use = "ctf"\nparams = {low_A = "much"}\n'), PluginError, "low_A"),
    ],
)
def test_what_cannot_be_used__is_refused_and_the_old_one_goes_on(
    tmp_path: Path, change: tuple[str, str], error: type[Exception], words: str
) -> None:
    world = World(tmp_path)
    with world.open() as run:
        runner = run.runner(live=True)
        path = run.config.path
        assert path is not None
        path.write_text(path.read_text().replace(*change, 1))
        with pytest.raises(error, match=words):
            run.reload()
        assert isinstance(run.journal.last("ConfigRefused"), ConfigRefused)
        run.admit_inputs()
        runner.run_until_idle()
        assert run.state.task_counts() == {"ctf": {"done": 3}, "pick": {"done": 3}}
        assert _swapped(run) == []
        run.config = replace(run.config, path=None)
        with pytest.raises(ConfigError, match="did not come from a file"):
            run.reload()


def test_a_stage_taken_out_and_another_put_in__is_a_reload_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.open() as run:
        runner = run.runner(live=True)
        run.admit_inputs()
        runner.run_until_idle()
        world.stages = ("ctf",)
        world.write()
        assert "[[stage]] pick" in run.reload()
        world.micrograph("new.mrc", seed=99)
        run.admit_inputs()
        runner.run_until_idle()
        assert run.state.task_counts() == {"ctf": {"done": 4}, "pick": {"done": 3}}
        (tmp_path / "pick.py").unlink()
        world.stages = ("ctf", "pick")
        world.write()
        run.reload()
        runner.run_until_idle()
        assert run.state.task_counts() == {"ctf": {"done": 4}, "pick": {"done": 4}}


def test_what_the_command_line_said__stays_in_force_when_the_file_is_read_anew(tmp_path: Path) -> None:
    world = World(tmp_path, stages=("ctf",), workers=1)
    config = replace(load(world.write()), workers=3)
    with Run.open(config) as run:
        run.runner(live=True)
        world.stages = ("ctf", "pick")
        world.write()
        assert "[[stage]] pick" in run.reload()
        assert run.config.workers == 3
        assert run.runner(live=True).config.workers == 3
