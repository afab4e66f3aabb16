"""What the documents show is what the code does: blocks run, tables and help texts are the generated ones.

In README.md and CONTRIBUTING.md every ```python block runs in a folder of its own, every ```toml block is read by the
configuration parser, every ```bash block is valid shell, every ``$ cryoframe …`` line of a ```console block names a
command that exists, and those of a block marked ```console cheap are run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import markdown_blocks
import pytest
import repository_facts as facts
from markdown_blocks import Block

from cryoframe.testing import pages

DOCUMENTS = tuple(path for path in (facts.ROOT / "README.md", facts.ROOT / "CONTRIBUTING.md") if path.is_file())
PROGRAM = Path(sys.executable).with_name("cryoframe")
EXAMPLES = facts.ROOT / "examples"


def _blocks(language: str) -> list[Block]:
    return [block for path in DOCUMENTS for block in markdown_blocks.blocks(path, language)]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "HOME": str(folder), "NUMBA_NUM_THREADS": "1"}


def _execute(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=240, check=False
    )


def test_the_readme__begins_with_the_two_commands_and_ci_runs_the_second() -> None:
    text = (facts.ROOT / "README.md").read_text(encoding="utf-8")
    test_line = 'python -m pip install -e ".[test]" && python -m pytest'
    assert "python -m pip install . && cryoframe demo" in text
    assert test_line in text
    assert test_line in (facts.ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "RELIABILITY.md", "PERFORMANCE.md"])
def test_what_a_document_points_to__is_there(name: str) -> None:
    text = (facts.ROOT / name).read_text(encoding="utf-8")
    linked = {link.split("#")[0] for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text)}
    named = set(re.findall(r"`(?:python |pytest (?:-rP )?)?((?:tests|examples)/[\w./*-]+[\w*])", text))
    absent = sorted(path for path in linked | named if not list(facts.ROOT.glob(path)))
    assert absent == []


@pytest.mark.parametrize("block", _blocks("python"), ids=lambda block: block.label)
def test_a_python_block__runs(block: Block, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(block.body, encoding="utf-8")
    done = _execute([sys.executable, "-W", "error", "block.py"], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", _blocks("toml"), ids=lambda block: block.label)
def test_a_toml_block__is_understood(block: Block, tmp_path: Path) -> None:
    content = tomllib.loads(block.body)
    if "project" in content or "tool" in content:
        return
    from cryoframe.kernel import config

    path = tmp_path / "run.toml"
    path.write_text(block.body, encoding="utf-8")
    for name in content.get("plugins", {}).get("files", []):
        (tmp_path / name).touch()
    assert config.load(path).stages or "stage" not in content


@pytest.mark.parametrize("block", _blocks("bash"), ids=lambda block: block.label)
def test_a_bash_block__is_valid_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.body, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", _blocks("console"), ids=lambda block: block.label)
def test_a_console_block__names_commands_that_exist(block: Block, tmp_path: Path) -> None:
    for line in markdown_blocks.commands(block):
        words = shlex.split(line)
        if words[0] == "cryoframe" and len(words) > 1 and not words[1].startswith("-"):
            done = _execute([str(PROGRAM), words[1], "--help"], tmp_path)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            unknown = [
                w.partition("=")[0] for w in words[2:] if w.startswith("--") and w.partition("=")[0] not in done.stdout
            ]
            assert not unknown, line


@pytest.mark.parametrize("block", [b for b in _blocks("console") if "cheap" in b.marks], ids=lambda block: block.label)
def test_a_cheap_console_block__runs(block: Block, tmp_path: Path) -> None:
    for line in markdown_blocks.commands(block):
        program, *arguments = shlex.split(line)
        done = _execute([str(PROGRAM) if program == "cryoframe" else program, *arguments], tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_the_hook_table__is_the_generated_one() -> None:
    text = (facts.ROOT / "README.md").read_text(encoding="utf-8")
    assert pages.between(text, "hooks") == pages.hook_table(), "python -m cryoframe.testing.pages README.md"


def test_the_hook_table__has_every_hook_with_its_signature() -> None:
    from cryoframe.kernel.stage import hook_names

    table = pages.hook_table()
    assert [line.split("`")[1].partition("(")[0] for line in table.splitlines()[2:]] == list(hook_names())
    assert (
        "`pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable`"
        in table
    )


def test_every_hook__documents_each_of_its_products() -> None:
    from cryoframe.kernel.stage import stage_specs

    for name, spec in stage_specs().items():
        entries = re.findall(r"^(\w+(?:, \w+)*)\n    \S", spec.doc, flags=re.MULTILINE)
        documented = [argument for entry in entries for argument in entry.split(", ")]
        assert [part.name for part in spec.consumes] == documented, name


def test_the_help_in_the_readme__is_the_programs_own() -> None:
    text = (facts.ROOT / "README.md").read_text(encoding="utf-8")
    assert pages.between(text, "cli") == pages.command_help(), "python -m cryoframe.testing.pages README.md"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.toml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_configuration__is_understood(path: Path) -> None:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    if "session" in content:
        from cryoframe.twin import session

        assert all(one.file is None or one.file.is_file() for one in session.load(path).specimens)
    elif "project" not in content:
        from cryoframe.kernel import config

        assert config.load(path).stages


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_an_example_plugin__keeps_the_contract(path: Path) -> None:
    from cryoframe.kernel.discovery import local_offers
    from cryoframe.kernel.plugins import Plugins

    offers = local_offers([path])
    plugins = Plugins(offers)
    assert [plugins.load(offer).offer for offer in offers] == list(offers)


def test_the_changelog__is_there() -> None:
    assert (facts.ROOT / "CHANGELOG.md").read_text(encoding="utf-8").strip()
