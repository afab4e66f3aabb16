"""Verbs that look and change nothing: plugins, plan, schema, conventions, doctor."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Cli


def test_plugins__lists_hooks_in_beam_order_with_distribution_and_version(cli: Cli) -> None:
    rows = json.loads(cli("plugins", "--json").stdout)
    assert list(dict.fromkeys(row["hook"] for row in rows))[:3] == ["simulate_movies", "correct_motion", "estimate_ctf"]
    assert [row["name"] for row in rows if row["hook"] == "estimate_ctf"] == ["profile", "spectrum"]
    assert {row["distribution"] for row in rows} == {"cryoframe"}
    assert {row["state"] for row in rows} == {"ok"}


def test_plugins__shows_one_file_plugins_and_blocks_of_a_configuration(cli: Cli, configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("[plugins]", '[plugins]\nblocked = ["spectrum"]'))
    rows = json.loads(cli("plugins", "estimate_ctf", "--config", configuration, "--json").stdout)
    assert {row["name"]: row["state"] for row in rows} == {"facility": "ok", "profile": "ok", "spectrum": "blocked"}


def test_plugins__describes_the_parameters_of_one(cli: Cli, configuration: Path) -> None:
    done = cli("plugins", "estimate_ctf", "facility", "--config", configuration, "--json")
    described = json.loads(done.stdout)
    assert described["use"] == "facility.py/facility"
    first = {"parameter": "defocus_A", "type": "float", "default": 10000.0, "unit": "Å", "doc": "what is answered"}
    assert described["params"][0] == first


def test_plugins__says_which_is_refused_and_why(cli: Cli, configuration: Path, facility: Path) -> None:
    facility.write_text(facility.read_text().replace("micrograph: Micrograph", "micograph: Micrograph"))
    done = cli("plugins", "estimate_ctf", "--config", configuration, "--load", "--json")
    states = {row["name"]: row["state"] for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert states["facility"].startswith("refused")
    assert "did you mean 'micrograph'" in states["facility"]


def test_plugins__of_an_unknown_hook_names_the_nearest(cli: Cli) -> None:
    done = cli("plugins", "estimate_cft")
    assert done.returncode == 2
    assert "did you mean 'estimate_ctf'" in done.stderr


def test_plan__explains_each_stage(cli: Cli, configuration: Path) -> None:
    done = cli("plan", configuration)
    assert done.returncode == 0, done.stderr
    assert "pick: pick_particles by facility.py/facility" in done.stdout
    assert "ctf from ctf → ParticleTable" in done.stdout


def test_plan__in_json_has_inputs_and_problems(cli: Cli, configuration: Path) -> None:
    facts = json.loads(cli("plan", configuration, "--json").stdout)
    assert facts["problems"] == []
    assert facts["stages"][1]["inputs"] == {"micrograph": ["input:micrographs"], "ctf": ["ctf"]}


def test_plan__that_cannot_run_says_what_is_missing_and_exits_2(cli: Cli, configuration: Path) -> None:
    configuration.write_text(
        configuration.read_text().partition("[[stage]]")[0] + '[[stage]]\nrun = "refine_3d"\nuse = "gold"\n'
    )
    done = cli("plan", configuration)
    assert done.returncode == 2
    assert "problem: stage 'refine_3d' (refine_3d) needs a ParticleStack" in done.stderr


def test_a_configuration_with_a_misspelt_key__is_refused_on_one_screen(cli: Cli, configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("workers", "worker"))
    done = cli("plan", configuration)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "cryoframe plan: small.toml: [run]: unknown key 'worker' — did you mean 'workers'?"
    )
    assert "expected: one of device, executor" in done.stderr


def test_schema__prints_a_hooks_exact_signature(cli: Cli) -> None:
    shown = cli("schema", "pick_particles").stdout
    signature = (
        "def pick_particles(micrograph: Micrograph, ctf: CtfFit, params: Params, ctx: StageContext) -> ParticleTable:"
    )
    assert signature in shown
    assert json.loads(cli("schema", "pick_particles", "--json").stdout)["over"] == "micrograph"


def test_schema__prints_columns_with_unit_and_sign(cli: Cli) -> None:
    groups = json.loads(cli("schema", "particles", "--json").stdout)["groups"]
    assert groups["ctf"]["defocus_u_A"]["unit"] == "Å"
    assert groups["ctf"]["defocus_u_A"]["sign"] == "positive is underfocus"
    assert cli("schema", "ParticleTable").stdout == cli("schema", "particles").stdout


def test_schema__lists_everything_and_names_the_nearest(cli: Cli) -> None:
    kinds = {row["kind"] for row in json.loads(cli("schema", "--json").stdout)}
    assert kinds == {"hook", "product", "table"}
    done = cli("schema", "particle")
    assert done.returncode == 2
    assert "did you mean 'particles'" in done.stderr


def test_schema_upgrade__of_a_current_table_says_so_and_of_another_file_fails(cli: Cli, tmp_path: Path) -> None:
    from cryoframe.data.tables import ParticleTable

    ParticleTable.empty().write(tmp_path / "p.arrow")
    assert "is particles/1, which is current" in cli("schema", "--upgrade", tmp_path / "p.arrow").stdout
    (tmp_path / "no.arrow").write_text("no")
    done = cli("schema", "--upgrade", tmp_path / "no.arrow")
    assert done.returncode == 1
    assert "not an Arrow file" in done.stderr


def test_conventions__prints_the_page(cli: Cli) -> None:
    import cryoframe

    page = (Path(cryoframe.__file__).parent / "CONVENTIONS.md").read_text(encoding="utf-8")
    assert cli("conventions").stdout.strip() == page.strip()
    assert len(json.loads(cli("conventions", "--json").stdout)) > 3


def test_doctor__finds_libraries_discovery_and_device(cli: Cli) -> None:
    done = cli("doctor", "--quick", "--json")
    found = {row["what"]: row["state"] for row in json.loads(done.stdout)}
    assert done.returncode == 0
    assert found["numpy"] == found["discovery"] == found["this folder"] == "ok"
    assert found["CUDA"] in ("ok", "note")


def test_doctor__lists_the_programs_of_shipped_wrappers_alone_and_each_once(cli: Cli) -> None:
    from importlib import import_module

    from cryoframe.cli.doctor import PROGRAMS
    from cryoframe.external import Program
    from cryoframe.kernel.discovery import scan

    modules = {offer.target for offer in scan() if offer.distribution == "cryoframe"}
    found = [getattr(import_module(name.partition(":")[0]), "PROGRAM", None) for name in sorted(modules)]
    assert sorted(PROGRAMS) == sorted(program.name for program in found if isinstance(program, Program))
    for words in (("--quick",), ()):
        rows = [row["what"] for row in json.loads(cli("doctor", "--json", *words).stdout)]
        assert [rows.count(name) for name in PROGRAMS] == [1] * len(PROGRAMS)
        assert "topaz" not in rows


def test_doctor__notes_a_malformed_neighbour(cli: Cli, tmp_path: Path) -> None:
    info = tmp_path / "site" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("no section\n")
    rows = json.loads(cli("doctor", "--quick", "--json", PYTHONPATH=str(tmp_path / "site")).stdout)
    assert {row["what"]: row["state"] for row in rows}["discovery"] == "note"
