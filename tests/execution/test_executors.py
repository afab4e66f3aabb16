"""An executor comes by name like every plugin; its products may lie where other machines see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from run_world import World, digests

from cryoframe.errors import ConfigError
from cryoframe.execution import executors
from cryoframe.execution.run import Run
from cryoframe.kernel.attempt import ELSEWHERE
from cryoframe.kernel.config import load
from cryoframe.kernel.discovery import local_offers
from cryoframe.kernel.plugins import Plugins

pytestmark = pytest.mark.usefixtures("no_discovery")
FLEET = """
from dataclasses import dataclass
from pathlib import Path
from cryoframe import Executor, ExecutorRequest, Processes, hookimpl

@dataclass(frozen=True)
class Params:
    size: int = 1  # ships

@hookimpl
def make_executor(request: ExecutorRequest) -> Executor:
    (request.elsewhere.parent / "asked").write_text(f"{request.settings.size} {request.n_attempts}")
    return Processes(request.voice, folder=request.folder)
"""


def opened(world: World, settings: str = "") -> Run:
    path = world.write()
    (world.folder / "fleet.py").write_text(FLEET, encoding="utf-8")
    text = (
        path.read_text(encoding="utf-8")
        .replace("files = [", "files = ['fleet.py', ")
        .replace("[run]", "[run]\nproducts = 'shared'")
    )
    path.write_text(f"{text}\n{settings}", encoding="utf-8")
    config = load(path)
    return Run(config, Plugins(local_offers(config.plugin_files)))


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cryoframe.kernel.discovery.scan", lambda: ())


@pytest.mark.usefixtures("named")
def test_an_executor_in_one_file__runs_a_run_with_the_same_products(tmp_path: Path) -> None:
    with opened(World(tmp_path / "far", executor="fleet"), "[executor]\nsize = 3\n") as run:
        assert run.execute() == {"ctf": {"done": 3}, "pick": {"done": 3}}
        found = digests(run)
    assert (tmp_path / "far/shared/asked").read_text() == "3 2"
    with World(tmp_path / "near").open() as run:
        run.execute()
        assert digests(run) == found


@pytest.mark.usefixtures("named")
def test_wrong_settings_of_an_executor__are_refused_by_name(tmp_path: Path) -> None:
    with (
        opened(World(tmp_path, executor="fleet"), "[executor]\nsice = 3\n") as run,
        pytest.raises(ConfigError, match=r"\[executor\]: unknown key 'sice' \(did you mean 'size'|did you mean 'size'"),
    ):
        run.runner()


def test_products_elsewhere__are_links_in_the_run_folder_and_the_database_is_not(tmp_path: Path) -> None:
    with opened(World(tmp_path)) as run:
        run.execute()
    assert (tmp_path / "out/stages").is_symlink()
    assert (tmp_path / "out/state.sqlite").is_file()
    assert len(list((tmp_path / "shared/stages/ctf").iterdir())) == 3
    with opened(World(tmp_path)) as run:
        assert run.execute() == {"ctf": {"done": 3}, "pick": {"done": 3}}


def test_products_that_would_have_to_move__are_refused(tmp_path: Path) -> None:
    World(tmp_path).execute()
    with pytest.raises(ConfigError, match="elsewhere") as caught:
        opened(World(tmp_path))
    assert "link to it" in caught.value.remedy


def test_a_folder_of_an_attempt_made_elsewhere__is_spared_for_who_sees_to_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.execute()
    for name in ("ctf.a", "ctf.b"):
        (tmp_path / "out/scratch" / name).mkdir()
    (tmp_path / "out" / ELSEWHERE / "ctf.a").mkdir(parents=True)
    config = load(world.write())
    assert executors.left_elsewhere(config) == ()
    assert executors.left_elsewhere(replace(config, executor="fleet")) == ("ctf.a",)
    world.execute()
    assert not list((tmp_path / "out/scratch").iterdir())
