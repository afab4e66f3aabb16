"""`cryoframe doctor` on the wrappers' programs: found or not, which version, tested with which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from cryoframe.cli import doctor
from cryoframe.external import Program
from cryoframe_relion import plugin


def finding(program: object) -> tuple[str, str, str]:
    (found,) = doctor._program_of(SimpleNamespace(PROGRAM=program))
    return found


def toy(folder: Path, version: str) -> Program:
    path = folder / "relion_run_motioncorr"
    path.write_text(f"#!/bin/sh\necho 'RELION version: {version} '\n")
    path.chmod(0o755)
    return plugin.PROGRAM.at(str(path))


def test_a_tested_version__is_ok(tmp_path: Path) -> None:
    name, state, text = finding(toy(tmp_path, "3.1.3"))
    assert (name, state) == ("relion_run_motioncorr version", "ok")
    assert text.startswith("3.1.3 at ")


def test_another_version__is_a_note_with_the_tested_ones(tmp_path: Path) -> None:
    _, state, text = finding(toy(tmp_path, "5.0.0"))
    assert state == "note"
    assert text.startswith("5.0.0 at ")
    assert text.endswith("tested: 3.1.3")


def test_an_absent_program__is_a_note_with_what_to_install() -> None:
    _, state, text = finding(replace(plugin.PROGRAM, find=("/nowhere/relion",)))
    assert state == "note"
    assert "apt install relion" in text


def test_a_plugin_without_a_program__adds_nothing() -> None:
    assert list(doctor._program_of(SimpleNamespace())) == []
