"""Programs are found, told, watched and ended; what they leave behind is read and replayed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cryoframe.errors import Cancelled, CryoframeError, EnvironmentFault, InvalidInput, PluginError
from cryoframe.external import Command, FakeProgram, Program, record

GUARDED_S = 10.0


def script(folder: Path, body: str, name: str = "toy") -> Path:
    """Write a program that answers --version with 1.2.3 and otherwise does what `body` says."""
    path = folder / name
    answer = "if [ \"$1\" = --version ]; then echo 'toy version: 1.2.3'; exit 3; fi"
    path.write_text(f"#!/bin/sh\n{answer}\n{textwrap.dedent(body)}\n")
    path.chmod(0o755)
    return path


def program(path: Path, **more: object) -> Program:
    known = {"tested": ("1.2.3",), "install": "Install toy from example.org."} | more
    return Program("toy", (str(path),), ("--version", r"version:\s*(\S+)"), "doi:10.0/0", **known)  # type: ignore[arg-type]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_in(path: Path) -> int:
    """Wait for a number that another process writes."""
    until_s = time.monotonic() + GUARDED_S
    while not (path.is_file() and path.read_text().strip()):
        assert time.monotonic() < until_s, f"{path.name} was not written"
        time.sleep(0.01)
    return int(path.read_text())


def ends(pid: int) -> bool:
    until_s = time.monotonic() + GUARDED_S
    while is_alive(pid) and time.monotonic() < until_s:
        time.sleep(0.01)
    return not is_alive(pid)


SLEEPER = "sleep 300 & echo $! > child\necho $$ > self\nwait"


def test_a_good_end__gives_status_log_version_and_files(tmp_path: Path, work: Path) -> None:
    toy = script(tmp_path, 'echo "told $1"; cat; echo "$COLOUR" > out.txt; echo oops >&2')
    said: list[str] = []
    command = Command(("a b; $(touch hacked)",), stdin="from stdin\n", environment=(("COLOUR", "red"),))
    done = program(toy).run(command, workdir=work, timeout_s=GUARDED_S, on_log=said.append)
    assert (done.status, done.version, done.text("out.txt")) == (0, "1.2.3", "red\n")
    assert done.log.read_text() == "told a b; $(touch hacked)\nfrom stdin\noops\n"
    assert 0 < done.seconds < GUARDED_S
    assert not (work / "hacked").exists()
    assert "toy 1.2.3" in said[0]
    assert not [line for line in said if "warning" in line]


def test_without_stdin__the_program_reads_nothing(tmp_path: Path, work: Path) -> None:
    done = program(script(tmp_path, "cat")).run(Command(()), workdir=work, timeout_s=GUARDED_S)
    assert done.log.read_bytes() == b""


def test_a_bad_status__is_an_error_with_the_last_15_lines(tmp_path: Path, work: Path) -> None:
    toy = script(tmp_path, "for i in $(seq 1 40); do echo line $i; done; printf 'bar 1\\rbar 2\\n'; exit 7")
    with pytest.raises(CryoframeError, match="exit status 7") as caught:
        program(toy).run(Command(()), workdir=work, timeout_s=GUARDED_S)
    assert caught.value.kind == "bug"
    lines = caught.value.remedy.splitlines()[1:]
    assert lines == [*(f"line {i}" for i in range(27, 41)), "bar 2"]
    assert "line 1\n" in (work / "toy.log").read_text()


def test_a_signal__is_named(tmp_path: Path, work: Path) -> None:
    with pytest.raises(CryoframeError, match=r"exit status 139 \(SIGSEGV\)"):
        program(script(tmp_path, "kill -SEGV $$")).run(Command(()), workdir=work, timeout_s=GUARDED_S)


def test_a_full_disk__is_the_environments_fault(tmp_path: Path, work: Path) -> None:
    toy = script(tmp_path, "echo 'write failed: No space left on device' >&2; exit 1")
    with pytest.raises(EnvironmentFault, match="no space left"):
        program(toy).run(Command(()), workdir=work, timeout_s=GUARDED_S)


def test_time_out__ends_the_whole_group(tmp_path: Path, work: Path) -> None:
    with pytest.raises(CryoframeError, match="killed after"):
        program(script(tmp_path, SLEEPER)).run(Command(()), workdir=work, timeout_s=0.5)
    assert ends(pid_in(work / "child"))
    assert ends(pid_in(work / "self"))


def test_cancellation__ends_the_whole_group(tmp_path: Path, work: Path) -> None:
    begun_s = time.monotonic()
    with pytest.raises(Cancelled, match="told to stop"):
        program(script(tmp_path, SLEEPER)).run(
            Command(()), workdir=work, timeout_s=60, is_cancelled=(work / "self").is_file
        )
    assert time.monotonic() - begun_s < GUARDED_S
    assert ends(pid_in(work / "child"))


def test_an_exception_of_the_question__ends_the_group_and_passes(tmp_path: Path, work: Path) -> None:
    def asked() -> bool:
        pid_in(work / "child")
        raise Cancelled("by the context")

    with pytest.raises(Cancelled, match="by the context"):
        program(script(tmp_path, SLEEPER)).run(Command(()), workdir=work, timeout_s=60, is_cancelled=asked)
    assert ends(pid_in(work / "child"))


def test_what_a_good_program_leaves_running__is_ended(tmp_path: Path, work: Path) -> None:
    program(script(tmp_path, "sleep 300 & echo $! > child")).run(Command(()), workdir=work, timeout_s=GUARDED_S)
    assert ends(pid_in(work / "child"))


def test_a_caller_that_is_killed__takes_the_group_along(tmp_path: Path, work: Path) -> None:
    toy = script(tmp_path, SLEEPER)
    code = (
        "import sys; from pathlib import Path; from cryoframe.external import Command, Program\n"
        "toy = Program('toy', (sys.argv[1],), ('--version', 'x'), '')\n"
        "toy.run(Command(()), workdir=Path(sys.argv[2]), timeout_s=60)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, str(toy), str(work)])
    child, itself = pid_in(work / "child"), pid_in(work / "self")
    assert is_alive(child)
    os.kill(caller.pid, signal.SIGKILL)
    caller.wait()
    assert ends(child)
    assert ends(itself)


def test_an_absent_program__is_refused_with_what_to_install(work: Path) -> None:
    with pytest.raises(PluginError, match="not on this machine") as caught:
        program(Path("/nowhere/toy")).run(Command(()), workdir=work, timeout_s=1)
    assert "example.org" in caught.value.remedy
    assert caught.value.kind == "user"


def test_at__looks_at_one_place_only(tmp_path: Path) -> None:
    toy = script(tmp_path, "")
    assert program(Path("/nowhere")).at(str(toy)).located() == str(toy)
    assert program(toy).at("/nowhere").located() is None
    assert program(toy).at("").located() == str(toy)


def test_an_untested_version__is_a_warning(tmp_path: Path, work: Path) -> None:
    said: list[str] = []
    toy = program(script(tmp_path, ""), tested=("0.9", "1.0"))
    assert toy.run(Command(()), workdir=work, timeout_s=GUARDED_S, on_log=said.append).version == "1.2.3"
    assert [line for line in said if line.startswith("warning") and "1.2.3" in line and "0.9, 1.0" in line]


def test_a_version_that_is_not_said__is_unknown(tmp_path: Path) -> None:
    toy = program(script(tmp_path, ""))
    assert Program("toy", toy.find, ("--version", r"release (\d+)"), "").installed_version() == "unknown"


def test_a_file_that_was_not_written__is_an_error_with_the_last_lines(tmp_path: Path, work: Path) -> None:
    done = program(script(tmp_path, "echo nothing to do")).run(Command(()), workdir=work, timeout_s=GUARDED_S)
    with pytest.raises(CryoframeError, match=r"wrote no 'out\.txt'") as caught:
        done.text("out.txt")
    assert "nothing to do" in caught.value.remedy
    with pytest.raises(CryoframeError, match="leads out"):
        done.path("../toy")


def test_a_file_that_is_no_program__cannot_be_started(tmp_path: Path, work: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(CryoframeError, match="exit status 126"):
        program(path).run(Command(()), workdir=work, timeout_s=GUARDED_S)


@pytest.mark.parametrize("argv", ["--flag value", ("a", 1), ("a\0b",)])
def test_arguments__are_a_tuple_of_texts(argv: object) -> None:
    with pytest.raises(InvalidInput):
        Command(argv)  # type: ignore[arg-type]


def test_an_environment_name__holds_no_equals_sign() -> None:
    with pytest.raises(InvalidInput):
        Command((), environment=(("A=B", "c"),))


def test_a_recorded_call__is_replayed_without_the_program(tmp_path: Path, work: Path) -> None:
    toy = script(tmp_path, "mkdir out; echo 42 > out/answer; echo working")
    command = Command(("--deep",), stdin="thought")
    done = program(toy).run(command, workdir=work, timeout_s=GUARDED_S)
    record(command, done, tmp_path / "kept", ["out/answer"])
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    said: list[str] = []
    fake = FakeProgram("toy", tmp_path / "kept").at("/anywhere")
    again = fake.run(command, workdir=fresh, timeout_s=1, on_log=said.append)
    assert (again.text("out/answer"), again.version, again.status) == ("42\n", "1.2.3", 0)
    assert again.log.read_text() == "working\n"
    assert "replayed" in said[0]
    with pytest.raises(CryoframeError, match="as recorded"):
        fake.run(Command(("--shallow",), stdin="thought"), workdir=fresh, timeout_s=1)
    with pytest.raises(CryoframeError, match="as recorded"):
        fake.run(Command(("--deep",)), workdir=fresh, timeout_s=1)
