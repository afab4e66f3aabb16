"""The program answers at once, imports only what the verb needs, and says plainly what it does not understand."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PROGRAM, Cli

from cryoframe.cli import main

HEAVY = ("numpy", "pyarrow", "numba", "rich", "watchdog", "mrcfile")
N_STARTS = 9
LIMIT_S = 0.150
PROBE = """
import json, sys
sys.argv = ["cryoframe", *sys.argv[1:]]
from cryoframe.cli.main import main
code = main(sys.argv[1:])
heavy = [name for name in {heavy!r} if name in sys.modules]
kernel = [name for name in sys.modules if name.startswith("cryoframe.kernel")]
print("PROBE", json.dumps([code, heavy, kernel]))
"""


def imported(*words: str, cwd: Path) -> tuple[int, list[str], list[str]]:
    import json

    code = PROBE.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout.rpartition("PROBE ")[2]))  # type: ignore[return-value]


def test_help__comes_in_less_than_150_ms(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seconds = []
    for _ in range(N_STARTS):
        begun = time.perf_counter()
        subprocess.run([PROGRAM, "--help"], cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - begun)
    record_property("cryoframe --help, median [ms]", round(1000 * statistics.median(seconds)))
    assert min(seconds) < LIMIT_S


def test_without_a_verb__nothing_heavy_and_no_kernel_is_imported(tmp_path: Path) -> None:
    assert imported(cwd=tmp_path) == (0, [], [])


@pytest.mark.parametrize(
    "words", [("plugins",), ("schema",), ("schema", "estimate_ctf"), ("conventions",), ("--version",)]
)
def test_light_verbs__import_nothing_heavy(words: tuple[str, ...], tmp_path: Path) -> None:
    code, heavy, _ = imported(*words, cwd=tmp_path)
    assert (code, heavy) == (0, [])


def test_planning__imports_nothing_heavy_and_no_plugin(tmp_path: Path, configuration: Path) -> None:
    code, heavy, _ = imported("plan", str(configuration), cwd=tmp_path)
    assert (code, heavy) == (0, [])


@pytest.mark.parametrize("verb", sorted(main.VERBS))
def test_every_verb__has_a_help_page(verb: str, cli: Cli) -> None:
    done = cli(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert main.VERBS[verb].split()[0].lower() in done.stdout.lower()
    assert done.stderr == ""


def test_the_help_page__lists_every_verb(cli: Cli) -> None:
    shown = cli("--help").stdout
    assert [line.split()[0] for line in shown.splitlines() if re.match(r"    \w", line)] == list(main.VERBS)
    assert cli().stdout == shown


def test_the_version__names_hooks_and_schemas(cli: Cli) -> None:
    done = cli("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("cryoframe 0.")
    assert "19 stages, 10 services; signatures " in done.stdout
    assert "particles/1" in done.stdout


def test_an_unknown_verb__names_the_nearest(cli: Cli) -> None:
    done = cli("plna")
    assert done.returncode == 2
    assert done.stderr.startswith("cryoframe: no verb is called 'plna' — did you mean 'plan'?")
    assert done.stdout == ""


def test_a_missing_argument__is_a_message_and_not_a_traceback(cli: Cli) -> None:
    done = cli("plan")
    assert done.returncode == 2
    assert "FILE.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away__is_no_error_on_screen(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{PROGRAM} conventions | head -1", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("#")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion__knows_verbs_and_flags(shell: str, cli: Cli) -> None:
    script = cli("completion", shell).stdout
    assert all(verb in script for verb in main.VERBS)
    assert "pixel-size" in script
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_bash_completion__completes_a_verb_and_a_flag(cli: Cli) -> None:
    script = cli("completion", "bash").stdout
    ask = "COMP_WORDS=(cryoframe {words}); COMP_CWORD={at}; _cryoframe; echo ${{COMPREPLY[*]}}"
    for words, at, expected in (("wat", 1, "watch"), ("plan --j", 2, "--json")):
        code = f"{script}\n{ask.format(words=words, at=at)}"
        done = subprocess.run(["bash", "-c", code], text=True, capture_output=True, check=True)
        assert done.stdout.split() == [expected]
