"""A new plugin folder is whole: it installs, keeps the contract of its hook, and passes the kit as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from command_line import Cli

from cryoframe.kernel.stage import hook_names

#: Hooks whose kit is quick; one started from the project's own code, the others from a body of their own.
QUICK = ("estimate_ctf", "select_particles", "denoise_micrograph", "make_mask")


def installed(folder: Path) -> None:
    """Make a folder look installed to discovery, as ``pip install -e`` does."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("hook", hook_names())
def test_every_hook__gets_a_folder_that_keeps_its_contract(hook: str, cli: Cli, tmp_path: Path) -> None:
    done = cli("new", "stage", hook, "acme", "--out", "made")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "made"
    assert {path.name for path in folder.iterdir()} == {"pyproject.toml", "README.md", f"acme_{hook}", "tests"}
    installed(folder)
    checks = ("--only", "signature", "--only", "params_documented", "--only", "import_heavy")
    kept = cli("check", f"{hook}:acme", "--json", *checks, PYTHONPATH=str(folder))
    report = json.loads(kept.stdout)[0]
    assert report["use"] == f"acme-{hook.replace('_', '-')}/acme"
    assert [result for result in report["results"] if not result["passed"]] == []


@pytest.mark.slow
@pytest.mark.parametrize("hook", QUICK)
def test_a_new_stage__passes_the_whole_kit_untouched(hook: str, cli: Cli, tmp_path: Path) -> None:
    cli("new", "stage", hook, "acme", "--out", "made")
    installed(tmp_path / "made")
    done = cli("check", f"{hook}:acme", "--json", PYTHONPATH=str(tmp_path / "made"))
    results = json.loads(done.stdout)[0]["results"]
    assert [result for result in results if not result["passed"]] == []
    assert len(results) > 20


def test_its_own_conformance_test__runs_under_pytest(cli: Cli, tmp_path: Path) -> None:
    cli("new", "stage", "make_mask", "acme", "--out", "made")
    installed(tmp_path / "made")
    import os

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"],
        cwd=tmp_path / "made",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "made")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.slow
def test_the_folder__is_a_distribution_that_pip_installs(cli: Cli, tmp_path: Path) -> None:
    cli("new", "stage", "refine_3d", "acme", "--out", "made")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*command, "--target", "site", "./made"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(cli("plugins", "refine_3d", "--json", PYTHONPATH=str(tmp_path / "site")).stdout)
    assert ("acme", "acme-refine-3d", "acme_refine_3d.plugin") in {
        (row["name"], row["distribution"], row["target"]) for row in rows
    }


def test_bare__writes_the_exact_signature_and_an_empty_body(cli: Cli, tmp_path: Path) -> None:
    cli("new", "stage", "pick_particles", "our-picker", "--bare", "--out", "made")
    text = (tmp_path / "made" / "our_picker_pick_particles" / "plugin.py").read_text()
    assert "def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext)" in text
    assert "our-picker is not written yet" in text


def test_like__starts_from_the_implementation_named(cli: Cli, tmp_path: Path) -> None:
    cli("new", "stage", "make_initial_volume", "acme", "--like", "from_model", "--out", "made")
    made = tomllib.loads((tmp_path / "made" / "pyproject.toml").read_text())["project"]["entry-points"]
    assert made == {"cryoframe.make_initial_volume": {"acme": "acme_make_initial_volume.seed"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("estimate_cft", "acme"), "did you mean 'estimate_ctf'"),
        (("estimate_ctf", "1 bad"), "cannot name an implementation"),
        (("estimate_ctf", "acme", "--like", "spectra"), "did you mean 'spectrum'"),
        (("estimate_ctf", "acme", "--out", "full"), "is not empty"),
    ],
)
def test_what_cannot_be_made__is_refused(words: tuple[str, ...], message: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    done = cli("new", "stage", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_copy__goes_by_its_new_name_in_its_own_words(cli: Cli, tmp_path: Path) -> None:
    cli("new", "stage", "pick_particles", "acme", "--like", "blob", "--out", "made")
    texts = [path.read_text() for path in (tmp_path / "made" / "acme_pick_particles").rglob("*.py")]
    assert any("pick_particles ``acme``" in text for text in texts)
    assert not any("pick_particles ``blob``" in text for text in texts)
