"""Seen from the system's side: nothing is called done before the disk has it, and a disk that fails is believed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_journal import WRITER, check_whole
from test_store import COMMITTER, KEY

from cryoframe.records.store import Store


def traced(folder: Path, code: str, *words: str, options: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("strace is not installed")
    command = [tracer, "-f", "-qq", "-y", *options, "-o", str(folder / "trace.txt"), sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr or "PTRACE" in done.stderr:
        pytest.skip(f"tracing is not allowed here: {done.stderr.strip()}")
    return done


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 2, 3, 5, 8, 13, 21])
def test_a_failing_fsync__is_never_reported_as_done(tmp_path: Path, when: int) -> None:
    path = tmp_path / "state.sqlite"
    inject = f"inject=fsync,fdatasync:error=EIO:when={when}"
    done = traced(tmp_path, WRITER, str(path), "30", options=("-e", "trace=fsync,fdatasync", "-e", inject))
    failed = next(line for line in (tmp_path / "trace.txt").read_text().splitlines() if "EIO" in line)
    if f"<{tmp_path}>" not in failed:  # SQLite passes over a folder that cannot be synced; a file it believes
        assert done.returncode == 1
        assert "EnvironmentFault" in done.stderr
    if path.exists():
        check_whole(path, done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 2, 4, 6, 9])
def test_a_commit_whose_fsync_fails__leaves_nothing_in_the_store_or_all(tmp_path: Path, when: int) -> None:
    inject = f"inject=fsync:error=EIO:when={when}"
    done = traced(tmp_path, COMMITTER, str(tmp_path / "run"), options=("-e", "trace=fsync", "-e", inject))
    trace = (tmp_path / "trace.txt").read_text()
    if "EIO" in trace:
        assert "committed" not in done.stdout
        assert "EnvironmentFault" in done.stderr
    assert Store(tmp_path / "run").verify() == []


@pytest.mark.slow
def test_a_commit__syncs_every_file_before_the_rename_and_the_folder_after(tmp_path: Path) -> None:
    calls = "trace=fsync,rename,renameat,renameat2"
    done = traced(tmp_path, COMMITTER, str(tmp_path / "run"), options=("-e", calls))
    assert "committed" in done.stdout
    lines = (tmp_path / "trace.txt").read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if "rename" in line and line.split('"')[3].endswith(KEY))
    scratch = lines[place].split('"')[1]
    synced_before = {match[1] for line in lines[:place] if (match := re.search(r"fsync\(\d+<(.*?)>\)", line))}
    final = tmp_path / "run" / "stages" / "ctf" / KEY
    wanted = {str(Path(scratch) / path.relative_to(final)) for path in (final, *final.rglob("*"))}
    assert wanted <= synced_before
    assert any("fsync" in line and f"<{final.parent}>" in line for line in lines[place:])
