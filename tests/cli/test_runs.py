"""Verbs about a run: run, watch, status, retry, explain; and compare and check on small plugins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from command_line import Cli

from cryoframe.cli.runs import looking_into

Make = Callable[[str], Path]


def test_run__does_everything_and_says_how_it_went(cli: Cli, configuration: Path) -> None:
    done = cli("run", configuration, "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["tasks"] == {"ctf": {"done": 2}, "pick": {"done": 2}}
    assert list(status["tasks"]) == ["ctf", "pick"]
    assert "ctf first.mrc: done in" in done.stderr


def test_run_again__does_nothing_twice(cli: Cli, configuration: Path) -> None:
    cli("run", configuration)
    again = cli("run", configuration)
    assert again.returncode == 0, again.stderr
    assert "done in" not in again.stderr
    assert "pick" in again.stdout


def test_quiet__says_nothing_on_standard_error(cli: Cli, configuration: Path) -> None:
    assert cli("run", configuration, "--quiet").stderr == ""


def test_the_command_line__goes_before_the_configuration(cli: Cli, configuration: Path) -> None:
    assert cli("run", configuration, "--executor", "inline", "--quiet").returncode == 0
    for words, message in (("--workers", "0"), "more than 0"), (("--device", "gpu"), "auto, cpu, cuda"):
        refused = cli("run", configuration, *words)
        assert refused.returncode == 2
        assert message in refused.stderr


def test_a_bad_file__is_given_up_listed_retried_and_done_when_mended(
    cli: Cli, configuration: Path, micrograph: Make
) -> None:
    micrograph("bad")
    done = cli("run", configuration)
    assert done.returncode == 1
    assert "given up: ctf bad.mrc" in done.stderr
    listed = json.loads(cli("retry", configuration, "--json").stdout)
    assert [(row["stage"], row["item"]) for row in listed] == [("ctf", "bad.mrc")]
    status = cli("status", configuration)
    assert "given up: ctf bad.mrc" in status.stderr
    assert "1 queued again" in cli("retry", configuration, "--all").stdout
    assert json.loads(cli("retry", configuration, "--json").stdout) == []


def test_status__finds_the_run_by_itself_and_verifies_it(cli: Cli, configuration: Path, tmp_path: Path) -> None:
    cli("run", configuration)
    facts = json.loads(cli("status", "--verify", "--json").stdout)
    assert facts["tasks"] == {"ctf": {"done": 2}, "pick": {"done": 2}}
    assert (facts["damage"], facts["in_charge"]) == ([], "")
    stored = next((tmp_path / "run" / "stages" / "ctf").rglob("product.json"))
    stored.write_text(stored.read_text().replace("10000.0", "10001.0"))
    damaged = cli("status", "--verify")
    assert damaged.returncode == 1
    assert "damaged: " in damaged.stdout


def test_status__where_there_is_no_run_says_so(cli: Cli, tmp_path: Path) -> None:
    assert "there is no run here" in cli("status").stderr
    done = cli("status", tmp_path)
    assert done.returncode == 2
    assert "is not a run folder" in done.stderr


def test_explain__tells_a_particles_way(cli: Cli, configuration: Path, tmp_path: Path) -> None:
    cli("run", configuration)
    with looking_into(tmp_path / "run") as (state, store):
        task = state.tasks("pick")[0]
        particle = int(store.load(task.stage_id, task.key).column("particle_id")[1])  # type: ignore[attr-defined]
    shown = cli("explain", str(particle)).stdout
    assert shown.splitlines()[0] == f"particle {particle} of first.mrc at x 10.0 Å, y 10.0 Å"
    assert "pick: picked by pick_particles facility" in shown
    assert json.loads(cli("explain", str(particle), "--run", configuration, "--json").stdout)["dropped"] is False
    unknown = cli("explain", "12")
    assert unknown.returncode == 2
    assert "knows particle 12" in unknown.stderr


def test_watch__takes_files_that_are_there_and_ends_when_idle(cli: Cli, configuration: Path) -> None:
    text = configuration.read_text().replace(
        '[micrographs]\nfiles = "data/*.mrc"', '[watch]\nfolder = "data"\nsettle_s = 0.2'
    )
    configuration.write_text(text + "\n")
    done = cli("watch", configuration, "--until-idle", "1.5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"] == {"ctf": {"done": 2}, "pick": {"done": 2}}


def test_watch__without_a_folder_is_refused(cli: Cli, configuration: Path) -> None:
    done = cli("watch", configuration)
    assert done.returncode == 2
    assert "watches no folder" in done.stderr


def test_compare__pairs_two_implementations_by_item(cli: Cli, facility: Path, micrograph: Make) -> None:
    other = facility.with_name("rival.py")
    other.write_text(facility.read_text().replace("10000.0", "10250.0"))
    files = [micrograph(name) for name in ("a", "b", "c")]
    own = ("--plugin-file", facility, "--plugin-file", other)
    done = cli("compare", "estimate_ctf", "facility", "rival", "--on", *files, "--json", *own)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [(row["use"], row["items"], row["failed"]) for row in facts["cost"]] == [("facility", 3, 0), ("rival", 3, 0)]
    defocus = next(row for row in facts["agreement"] if row["quantity"] == "defocus_u_A")
    assert (defocus["n"], defocus["b_minus_a"], defocus["low"], defocus["high"]) == (3, 250.0, 250.0, 250.0)
    tuned = cli(
        "compare", "estimate_ctf", "facility", "rival", "--on", *files, "--set", "rival:defocus_A=10000", "--json", *own
    )
    changed = next(row for row in json.loads(tuned.stdout)["agreement"] if row["quantity"] == "defocus_u_A")
    assert changed["b_minus_a"] == 0.0


def test_compare__counts_failures_and_needs_two(cli: Cli, facility: Path, micrograph: Make) -> None:
    other = facility.with_name("rival.py")
    other.write_text(facility.read_text())
    own = ("--plugin-file", facility, "--plugin-file", other)
    words = ("compare", "estimate_ctf", "facility", "rival", "--set", "rival:trip=bad", "--on")
    done = cli(*words, micrograph("bad"), micrograph("good"), *own)
    assert done.returncode == 1
    assert "rival.py/rival bad.mrc" in done.stderr
    one = cli("compare", "estimate_ctf", "facility", "--on", micrograph("m"), *own)
    assert one.returncode == 2
    assert "two or more" in one.stderr


def test_check__holds_a_one_file_plugin_to_the_kit(cli: Cli, facility: Path) -> None:
    words = (
        "check",
        "estimate_ctf:facility",
        "--plugin-file",
        facility,
        "--only",
        "signature",
        "--only",
        "params_documented",
    )
    done = cli(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✔ signature" in done.stdout
    facility.write_text(facility.read_text().replace("  # what is answered", ""))
    failed = cli(*words, "--json")
    assert failed.returncode == 1
    found = {result["check"]: result["passed"] for result in json.loads(failed.stdout)[0]["results"]}
    assert found["params_documented"] is False


def test_check__of_an_unknown_name_names_the_nearest(cli: Cli) -> None:
    done = cli("check", "spectrun")
    assert done.returncode == 2
    assert "did you mean 'spectrum'" in done.stderr
    assert cli("check").returncode == 2


def test_warmup__runs_each_stage_once(cli: Cli) -> None:
    done = cli("warmup", "estimate_ctf", "--json")
    assert done.returncode == 0, done.stderr
    found = [(row["implementation"], row["state"]) for row in json.loads(done.stdout)]
    assert found == [("profile", "ready"), ("spectrum", "ready")]
