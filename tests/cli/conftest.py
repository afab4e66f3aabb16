"""Fixtures of the command line's tests: the program in a folder of its own, and small things to run it on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from command_line import FACILITY, PROGRAM, RUN, Cli

from cryoframe.formats import mrc


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the program; its home is the test's own folder."""

    def run(*words: str | Path, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        surroundings = os.environ | {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "COLUMNS": "100"} | environment
        command = [str(PROGRAM), *map(str, words)]
        return subprocess.run(
            command, cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=600, check=False
        )

    return run


@pytest.fixture
def facility(tmp_path: Path) -> Path:
    """The facility's plugin file."""
    path = tmp_path / "facility.py"
    path.write_text(dedent(FACILITY), encoding="utf-8")
    return path


@pytest.fixture
def micrograph(tmp_path: Path) -> Callable[[str], Path]:
    """Write a small micrograph of a given name below ``data``."""

    def write(name: str) -> Path:
        path = tmp_path / "data" / f"{name}.mrc"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(len(name)).standard_normal((64, 48)).astype(np.float32)
        mrc.write(path, noise + len(list(path.parent.iterdir())), pixel_size_A=2.0)
        return path

    return write


@pytest.fixture
def configuration(tmp_path: Path, facility: Path, micrograph: Callable[[str], Path]) -> Path:
    """A configuration of two stages over two micrographs."""
    assert facility.is_file()
    micrograph("first")
    micrograph("second")
    path = tmp_path / "small.toml"
    path.write_text(RUN, encoding="utf-8")
    return path
