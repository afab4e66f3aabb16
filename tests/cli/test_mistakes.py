"""What people mistype and misplace: refused early, in words, without a traceback, and the work is not begun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Cli, started

Make = Callable[[str], Path]


@pytest.fixture
def own(facility: Path) -> list[str]:
    """Flags that bring the facility's plugin in."""
    return ["--plugin-file", str(facility)]


def refused(done: subprocess.CompletedProcess[str], *said: str, code: int = 2) -> None:
    """Require an exit code, words, and no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr


# -- paths ---------------------------------------------------
def test_a_relative_product_folder__serves_a_call_in_another_process(
    cli: Cli, micrograph: Make, own: list[str], tmp_path: Path
) -> None:
    micrograph("m")
    cli("stage", "estimate_ctf", "facility", "data/m.mrc", "--out", "ctf", *own)
    done = cli("stage", "pick_particles", "facility", "data/m.mrc", "ctf", "--isolate", *own)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["afile", "afile/sub", "/proc/foo"])
def test_a_run_folder_that_cannot_be__is_refused(folder: str, cli: Cli, configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "afile").touch()
    configuration.write_text(configuration.read_text().replace('folder = "run"', f'folder = "{folder}"'))
    refused(cli("run", configuration), "[run] folder")


@pytest.mark.parametrize("out", ["afile", "/proc/x/y"])
def test_an_out_that_cannot_be_a_folder__is_refused_before_the_work(
    out: str, cli: Cli, micrograph: Make, own: list[str], tmp_path: Path
) -> None:
    (tmp_path / "afile").touch()
    refused(cli("stage", "estimate_ctf", "facility", micrograph("m"), "--out", out, *own), "--out")
    refused(cli("demo", "--out", out), "--out")
    refused(cli("new", "stage", "make_mask", "acme", "--out", out), "--out")


def test_a_stage_that_fails__leaves_no_empty_folder(cli: Cli, micrograph: Make, own: list[str], tmp_path: Path) -> None:
    done = cli("stage", "estimate_ctf", "facility", micrograph("bad"), "--set", "trip=bad", "--out", "made", *own)
    assert done.returncode == 1
    assert not (tmp_path / "made").exists()


def test_a_report_that_is_a_directory__is_refused_before_the_run(cli: Cli, configuration: Path, tmp_path: Path) -> None:
    refused(cli("run", configuration, "--report", "data"), "'data' is a directory")
    assert not (tmp_path / "run").exists()


def test_a_directory_or_a_pipe_as_input__is_named_as_what_it_is(cli: Cli, own: list[str], tmp_path: Path) -> None:
    (tmp_path / "dir.mrc").mkdir()
    os.mkfifo(tmp_path / "pipe.mrc")
    refused(cli("stage", "estimate_ctf", "facility", "dir.mrc", *own), "'dir.mrc' is a directory")
    refused(cli("stage", "estimate_ctf", "facility", "pipe.mrc", *own), "'pipe.mrc' is no regular file")


def test_a_folder_as_pattern__is_told_what_to_write(cli: Cli, configuration: Path, tmp_path: Path) -> None:
    configuration.write_text(configuration.read_text().replace("data/*.mrc", "data"))
    said = ("'data' is a directory", f"{tmp_path}/data/*")
    refused(cli("run", configuration), *said)
    planned = cli("plan", configuration)
    assert planned.returncode == 0
    assert all(text in planned.stdout for text in said)


def test_an_error_of_the_system_that_nobody_foresaw__is_a_message(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "loop.arrow").symlink_to("loop.arrow")
    done = cli("schema", "--upgrade", "loop.arrow")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


# -- files that are something else ---------------------------------------------------
@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "the file is empty"), (b"first.mrc\nsecond.mrc\n", "it is text")],
)
def test_a_file_that_is_no_image__is_described(
    content: bytes, said: str, cli: Cli, configuration: Path, tmp_path: Path
) -> None:
    (tmp_path / "data" / "odd.mrc").write_bytes(content)
    refused(cli("run", configuration), said, code=1)


def test_a_stack_as_micrograph__is_led_to_movies(cli: Cli, configuration: Path, tmp_path: Path) -> None:
    import numpy as np

    from cryoframe.formats import mrc

    mrc.write(tmp_path / "data" / "odd.mrc", np.zeros((3, 8, 8), np.float32), pixel_size_A=1.0)
    done = cli("run", configuration)
    refused(done, "an MRC file of 3 sections", "[movies]", code=1)
    assert "rejected: odd.mrc" in cli("status", configuration).stderr


# -- numbers ---------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [
        ("--threads", "-5"),
        ("--pixel-size", "-1"),
        ("--pixel-size", "150"),
        ("--pixel-size", "nan"),
        ("--dose", "-1"),
        ("--timeout", "-1"),
        ("--seed", "-1"),
    ],
)
def test_a_number_out_of_reason__is_refused_early(words: tuple[str, str], cli: Cli, own: list[str]) -> None:
    refused(cli("stage", "estimate_ctf", "facility", "x.mrc", *words, *own), words[0])


@pytest.mark.parametrize("value", ["inf", "1e300", "nan"])
def test_a_parameter_beyond_all_reason__is_refused(value: str, cli: Cli, micrograph: Make, own: list[str]) -> None:
    done = cli("stage", "estimate_ctf", "facility", micrograph("m"), "--set", f"defocus_A={value}", *own)
    refused(done, "defocus_A", "of size 1e+18 at most")


def test_a_parameter_that_Params_refuses__is_the_users_mistake(
    cli: Cli, micrograph: Make, facility: Path, own: list[str]
) -> None:
    check = (
        "    def __post_init__(self) -> None:\n        if self.n < 1:\n"
        "            raise InvalidInput(f'n is {self.n}', expected='1 or more')\n\n\n@hookimpl\ndef estimate_ctf"
    )
    text = facility.read_text().replace("import Corrupt", "import Corrupt, InvalidInput")
    facility.write_text(text.replace("@hookimpl\ndef estimate_ctf", check, 1))
    done = cli("stage", "estimate_ctf", "facility", micrograph("m"), "--set", "n=0", *own)
    refused(done, "n is 0", "1 or more")


def test_plan__refuses_the_parameters_that_run_refuses(cli: Cli, configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("trip =", "tripp ="))
    for verb in ("plan", "run"):
        done = cli(verb, configuration)
        refused(done, "did you mean 'trip'")
        assert done.stderr.count("did you mean 'trip'") == 1, "it is said once"
    assert cli("plan", configuration, "--quick").returncode == 0


def test_an_empty_configuration__is_refused_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    done = cli("run", "empty.toml")
    refused(done, "no [[stage]] is configured")
    assert done.stderr.count("no [[stage]]") == 1


# -- words ---------------------------------------------------
def test_optics_that_are_assumed__are_said_by_plan_run_and_status(cli: Cli, configuration: Path) -> None:
    said = "remark: optics assumed: 300 kV (but for files that state it), Cs 2.7 mm, amplitude contrast 0.1"
    assert said in cli("plan", configuration).stdout
    assert said in cli("run", configuration).stderr
    assert said in cli("status").stdout
    text = configuration.read_text() + "[optics]\nvoltage_kV = 300.0\ncs_mm = 2.7\namplitude_contrast_frac = 0.07\n"
    configuration.write_text(text)
    assert "optics assumed" not in cli("plan", configuration).stdout
    cli("run", configuration)
    assert "optics assumed" not in cli("status").stdout


def test_a_picker_without_a_ctf__needs_none(cli: Cli, micrograph: Make, facility: Path, own: list[str]) -> None:
    text = facility.read_text().replace("ctf: CtfFit, params", "params").replace("place + ctf.defocus_u_A", "place")
    facility.write_text(text)
    done = cli("stage", "pick_particles", "facility", micrograph("m"), *own)
    assert done.returncode == 0, done.stderr


def test_what_was_given_up__comes_with_the_file_of_its_traceback(
    cli: Cli, configuration: Path, micrograph: Make
) -> None:
    micrograph("bad")
    for text in (cli("run", configuration).stderr, cli("status", configuration).stderr):
        path = Path(text.partition("  see ")[2].splitlines()[0])
        assert "this one is refused" in path.read_text(encoding="utf-8")
    row = json.loads(cli("retry", configuration, "--json").stdout)[0]
    assert Path(row["traceback"]) == path


def test_retry__of_a_stage_that_is_not_there_says_so(cli: Cli, configuration: Path) -> None:
    cli("run", configuration)
    refused(cli("retry", configuration, "--stage", "pik", "--all"), "did you mean 'pick'")


def test_status__calls_the_run_by_its_name_and_a_dead_ones_tasks_interrupted(
    cli: Cli, configuration: Path, tmp_path: Path
) -> None:
    from cryoframe.records import events
    from cryoframe.records.bus import Bus
    from cryoframe.records.database import Database
    from cryoframe.records.journal import Journal

    cli("run", configuration)
    database = Database.open(tmp_path / "run" / "state.sqlite")
    bus = Bus(Journal(database), "small")
    where = {"stage_id": "ctf", "item_id": "first.mrc", "key": "k"}
    bus.publish(events.StageStarted, **where, attempt=1, worker="w", device="cpu")
    database.close()
    facts = json.loads(cli("status", "--json").stdout)
    assert facts["name"] == "small"
    assert facts["tasks"]["ctf"] == {"done": 1, "interrupted": 1}


def test_errors__are_json_where_json_was_asked_for(cli: Cli, configuration: Path) -> None:
    configuration.write_text(configuration.read_text().replace("workers", "worker"))
    error = json.loads(cli("plan", configuration, "--json").stdout)["error"]
    assert (error["class"], error["kind"]) == ("ConfigError", "user")
    assert "unknown key 'worker'" in error["what"]
    usage = json.loads(cli("stage", "estimate_ctf", "--json").stdout)["error"]
    assert "required" in usage["what"]


def test_completion__calls_its_argument_SHELL(cli: Cli) -> None:
    assert "SHELL" in cli("completion", "--help").stdout


def test_a_one_file_plugin_that_breaks_its_contract__is_called_by_its_path(
    cli: Cli, micrograph: Make, facility: Path, own: list[str]
) -> None:
    facility.write_text(facility.read_text().replace("-> CtfFit", "-> int"))
    done = cli("stage", "estimate_ctf", "facility", micrograph("m"), *own)
    assert f"{facility} does not keep the contract" in done.stderr
    assert "cryoframe_local_" not in done.stderr


def test_compare__of_one_item_gives_no_interval(cli: Cli, facility: Path, micrograph: Make) -> None:
    other = facility.with_name("rival.py")
    other.write_text(facility.read_text())
    own = ("--plugin-file", facility, "--plugin-file", other)
    done = cli("compare", "estimate_ctf", "facility", "rival", "--on", micrograph("m"), "--json", *own)
    rows = json.loads(done.stdout)["agreement"]
    assert {(row["n"], row["low"], row["high"]) for row in rows} == {(1, None, None)}


# -- signals ---------------------------------------------------
def until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait for something to become so."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_ctrl_c__ends_the_stage_command_and_is_not_the_plugins_failure(
    tmp_path: Path, micrograph: Make, facility: Path, own: list[str]
) -> None:
    begun = tmp_path / "begun"
    slow = f"import time, pathlib\n    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(60)\n    ctx.metric("
    facility.write_text(facility.read_text().replace("ctx.metric(", slow, 1))
    process = started(tmp_path, "stage", "estimate_ctf", "facility", micrograph("m"), micrograph("n"), *own)
    until(begun.exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.splitlines()[1:]) == (130, ["cryoframe stage: interrupted"])  # after the optics


def test_watch__ends_with_0_after_a_signal_whatever_was_given_up(
    tmp_path: Path, cli: Cli, configuration: Path, micrograph: Make
) -> None:
    micrograph("bad")
    text = configuration.read_text().replace(
        '[micrographs]\nfiles = "data/*.mrc"', '[watch]\nfolder = "data"\nsettle_s = 0.2'
    )
    configuration.write_text(text)
    process = started(tmp_path, "watch", configuration)

    def given_up() -> bool:
        done = cli("status", "--json")
        return done.returncode == 0 and bool(json.loads(done.stdout)["given_up"])

    until(given_up)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "given up: ctf bad.mrc" in said


def test_an_argument_too_many__is_said_of_the_verb(cli: Cli) -> None:
    refused(cli("backup", "run.toml", "copy.sqlite"), "cryoframe backup: unrecognized", "cryoframe backup --help")


def test_cancelled__is_no_success_so_no_service_starts_it_again(
    tmp_path: Path, cli: Cli, configuration: Path, facility: Path
) -> None:
    begun = tmp_path / "begun"
    slow = f"import time, pathlib\n    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(60)\n    ctx.metric("
    facility.write_text(facility.read_text().replace("ctx.metric(", slow, 1))
    process = started(tmp_path, "run", configuration)
    until(begun.exists)
    assert cli("cancel", configuration).returncode == 0
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "cancelled; the same command goes on" in said
