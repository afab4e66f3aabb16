"""The import contracts of pyproject.toml hold, and every plugin is named in each list that must name it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import repository_facts as facts


def test_import_linter__keeps_every_contract() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = facts.run([str(program), "--no-cache"])
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_every_door_to_a_third_party__is_guarded_by_a_contract() -> None:
    guarded = {
        module
        for contract in facts.project()["tool"]["importlinter"]["contracts"]
        if contract["type"] == "protected"
        for module in contract["protected_modules"]
    }
    assert {"entrypoints", "watchdog", "rich", "numba", "cupy", "apsw", "imagecodecs", "gemmi"} <= guarded


def test_layers__are_exhaustive() -> None:
    assert facts.contract("floors of the house")["exhaustive"] is True


def test_plugin_folders__equal_the_wheel_list() -> None:
    assert facts.plugin_folders() == facts.wheel_packages()


def test_plugin_folders__equal_the_packages_of_the_entry_points() -> None:
    assert facts.plugin_folders() == {module.partition(".")[0] for _, _, module in facts.offered()}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("plugins do not know each other", "modules"),
        ("the house does not know its plugins", "forbidden_modules"),
    ],
)
def test_plugin_folders__equal_the_list_in_each_contract(name: str, key: str) -> None:
    assert facts.plugin_folders() == set(facts.contract(name)[key])


def test_plugin_folders__and_the_house_are_the_linters_root_packages() -> None:
    assert facts.plugin_folders() | {"cryoframe"} == set(facts.project()["tool"]["importlinter"]["root_packages"])


def test_only_the_wrappers__the_benchmarks_and_the_command_line_may_run_other_programs() -> None:
    wrappers = {folder.name for folder in facts.CONTRIB.iterdir() if any(folder.glob("*.py"))}
    allowed = facts.contract("other programs are run by wrappers")["allowed_importers"]
    assert set(allowed) == wrappers | {"cryoframe.cli", "cryoframe.bench"}
