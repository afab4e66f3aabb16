"""A run writes nowhere where it would take its own products for raw data, and meets no file twice."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from cryoframe.errors import ConfigError
from cryoframe.execution import places, run
from cryoframe.execution.run import Run
from cryoframe.kernel import config as configuration
from cryoframe.kernel.config import RunConfig

TEXT = """
[run]
name = "s"
folder = "{run}"
{more}

[micrographs]
files = "**/*.mrc"
pixel_size_A = 1.0

[watch]
folders = {watched}

[[stage]]
id = "ctf"
run = "{hook}"
"""


def _config(
    folder: Path, run: str, watched: list[str], *, more: str = "", hook: str = "estimate_ctf"
) -> RunConfig:  # fmt: skip
    path = folder / "run.toml"
    path.write_text(TEXT.format(run=run, watched=watched, more=more, hook=hook), encoding="utf-8")
    return configuration.load(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folders, one of which has another name too."""
    (tmp_path / "raw" / "sub").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(tmp_path / "raw")
    return tmp_path


@pytest.mark.parametrize(
    ("run", "watched", "more"),
    [
        ("raw/run", ["raw"], ""),
        ("raw", ["raw"], ""),
        ("alias/run", ["raw"], ""),
        ("raw/run", ["alias"], ""),
        ("run", ["raw"], 'products = "raw/products"'),
        ("run", ["run/stages"], ""),
        ("run", ["run/stages/motion"], ""),
        ("run", ["raw", "raw/sub"], ""),
        ("run", ["raw/sub", "raw"], ""),
        ("run", ["raw", "alias"], ""),
        ("run", ["raw", "alias/sub"], ""),
        ("run", ["."], ""),
    ],
)
def test_places_that_overlap__are_refused_and_nothing_is_made(
    run: str, watched: list[str], more: str, place: Path
) -> None:
    config = _config(place, run, watched, more=more)
    before = sorted(place.rglob("*"))
    with pytest.raises(ConfigError, match=r"lies in"):
        Run.open(config)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(("run", "watched"), [("run", ["raw"]), (".", ["raw"]), ("run", ["raw", "raw2"])])
def test_places_apart__are_taken(run: str, watched: list[str], place: Path) -> None:
    Run.open(_config(place, run, watched)).close()


def test_a_watched_folder_that_is_away__is_said_and_one_that_is_a_file_is_refused(place: Path) -> None:
    assert places.remarks(_config(place, "run", ["raw"])) == []
    assert "nowhere is not there" in places.remarks(_config(place, "run", ["raw", "nowhere"]))[0]
    (place / "afile").touch()
    with pytest.raises(ConfigError, match="is a file"):
        places.remarks(_config(place, "run", ["afile"]))


def test_a_share_that_does_not_answer__holds_up_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, hung = _config(place, "run", ["raw"]), threading.Event()
    monkeypatch.setattr(places, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(places, "_kind", lambda place: str(hung.wait(20.0)))
    begun_s = time.monotonic()
    assert len(places.remarks(config)) == 1
    assert time.monotonic() - begun_s < 10.0
    hung.set()


def test_what_the_run_made_itself__is_no_input_of_it(place: Path) -> None:
    config = _config(place, ".", [])
    product = place / "stages" / "motion" / "k" / "data.mrc"
    assert places.is_written_by(config, product)
    assert not places.is_written_by(config, place / "raw" / "a.mrc")


def test_a_stage_mistyped__is_said_in_words(place: Path) -> None:
    with Run.open(_config(place, "run", ["raw"], hook="estimate_ctff")) as opened, pytest.raises(ConfigError) as said:
        opened.runner(live=True)
    assert "estimate_ctff" in str(said.value)


def test_somebody_who_looks_who_is_in_charge__keeps_nobody_from_taking_charge(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(place, "run", ["raw"])
    Run.open(config).close()
    looking = os.open(place / "run" / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(run, "LOOKED_AT_S", 20.0)
    later = threading.Timer(0.2, os.close, [looking])
    later.start()
    Run.open(config).close()
    later.join()
