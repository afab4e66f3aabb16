"""A session may be made of models that come with the program, wherever its file lies; examples name nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cryoframe.errors import ConfigError
from cryoframe.twin.session import from_mapping, load


def test_the_example_session__finds_its_model_from_any_folder(repository: Path, tmp_path: Path) -> None:
    shutil.copy(repository / "examples" / "watch_folder" / "session.toml", tmp_path)
    files = [one.file for one in load(tmp_path / "session.toml").specimens if one.file is not None]
    assert [path.name for path in files] == ["5a1a.cif.gz"]
    assert files[0].is_file()


def test_a_model_that_does_not_come_with_the_program__is_refused_naming_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model '5a1b\.cif\.gz' comes with the program.*5a1a") as found:
        from_mapping({"specimen": [{"file": "shipped:5a1b.cif.gz"}]}, folder=tmp_path)
    assert "7a4m.cif.gz" in str(found.value.expected)


def test_no_example__names_a_file_outside_of_its_folder(repository: Path) -> None:
    named = [
        f"{path.name}: {line}"
        for path in (repository / "examples").rglob("*.toml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "../" in line
    ]
    assert named == []
