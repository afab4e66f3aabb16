"""What a run says of its failures, its assumptions and its refusals, and whom it blames."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import World

from cryoframe.errors import ConfigError
from cryoframe.execution.run import Run
from cryoframe.records.events import RunFinished

pytestmark = pytest.mark.usefixtures("no_discovery")


def test_bad_input__is_the_files_fault_and_tried_twice_at_most(tmp_path: Path) -> None:
    world = World(tmp_path, n_micrographs=1, body={"ctf": "raise InvalidInput('the grid is odd')"})
    with world.open() as run:
        run.execute()
        (task,) = run.state.tasks("ctf")
    assert (task.status, task.error_class, task.attempts) == ("given_up", "file", 2)


def test_what_a_plugin_says_at_length__is_bounded_and_kept_whole_in_a_file(tmp_path: Path) -> None:
    world = World(
        tmp_path, n_micrographs=1, extra={"ctf": "attempts = 1"}, body={"ctf": "raise ValueError('x' * 5000)"}
    )
    with world.open() as run:
        run.execute()
        (task,) = run.state.tasks("ctf")
        status = run.status()
    assert len(task.message) < 700
    assert "… see failures/ctf/" in task.message
    kept = Path(status["tracebacks"]["ctf m0.mrc"])  # type: ignore[index]
    assert "x" * 5000 in kept.read_text(encoding="utf-8")


def test_optics_that_are_assumed__are_in_the_journal_and_the_status(tmp_path: Path) -> None:
    with World(tmp_path).open() as run:
        run.execute()
        (event,) = [event for event in run.journal.replay() if type(event).__name__ == "OpticsAssumed"]
        assert run.status()["remarks"] == [event.remark]  # type: ignore[attr-defined]
        assert event.names == "voltage_kV, cs_mm, amplitude_contrast_frac"  # type: ignore[attr-defined]


def test_a_stage_that_makes_movies__is_refused_with_a_remedy_that_exists(tmp_path: Path) -> None:
    from cryoframe.cli.main import VERBS
    from cryoframe.kernel.config import load
    from cryoframe.kernel.discovery import local_offers
    from cryoframe.kernel.plugins import Plugins
    from cryoframe.kernel.stage import stage_specs

    hook = next(name for name, spec in stage_specs().items() if spec.over == "exposure")
    source = f"from cryoframe import hookimpl\n\n\n@hookimpl\ndef {hook}(params, ctx):\n    return None\n"
    world = World(tmp_path)
    path = world.write()
    (tmp_path / "maker.py").write_text(source, encoding="utf-8")
    text = path.read_text(encoding="utf-8").replace("files = ['reader.py'", "files = ['maker.py', 'reader.py'")
    path.write_text(text.partition("[[stage]]")[0] + f'[[stage]]\nrun = "{hook}"\nuse = "maker"\n')
    config = load(path)
    with Run(config, Plugins(local_offers(config.plugin_files))) as run, pytest.raises(ConfigError) as caught:
        run.execute()
    assert "makes movies" in str(caught.value)
    assert "cryoframe simulate" in str(caught.value)
    assert "simulate" in VERBS


def test_a_run_that_ends_by_an_error__says_so_in_its_log(tmp_path: Path) -> None:
    world = World(tmp_path)

    def work() -> None:
        with world.open():
            raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        work()
    with world.open() as run:
        said = [event.reason for event in run.journal.replay() if isinstance(event, RunFinished)]
    assert said == ["failed: ZeroDivisionError: by zero"]
