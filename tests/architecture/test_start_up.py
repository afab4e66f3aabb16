"""Importing cryoframe or a plugin is cheap and leaves no trace; the command line answers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import repository_facts as facts

HEAVY = ("numpy", "pyarrow", "numba", "rich", "watchdog", "mrcfile")
START_LIMIT_S = 0.150
#: Other processes share the machine: the fastest start is the one that measures the program.
MAX_STARTS = 25
Record = Callable[[str, object], None]

IMPORTED_BY_COMMAND = """
import json, sys
from cryoframe.cli.main import entry
sys.argv = ["cryoframe", *sys.argv[1:]]
try:
    entry()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps(sorted(sys.modules)))
"""


def test_help__comes_in_less_than_150_ms(figure: Record, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("cryoframe"))
    seconds: list[float] = []
    while len(seconds) < 5 or (min(seconds) >= START_LIMIT_S and len(seconds) < MAX_STARTS):
        begun = time.perf_counter()
        subprocess.run([program, "--help"], cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - begun)
    figure("cryoframe --help, fastest [ms]", round(1000 * min(seconds)))
    figure("cryoframe --help, median [ms]", round(1000 * sorted(seconds)[len(seconds) // 2]))
    assert min(seconds) < START_LIMIT_S


@pytest.mark.parametrize("arguments", [("--help",), ("plugins",), ("run", "--help")], ids=" ".join)
def test_light_commands__import_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    modules = json.loads(facts.python(IMPORTED_BY_COMMAND, *arguments, cwd=tmp_path).splitlines()[-1])
    assert not [name for name in HEAVY if name in modules]


def test_importing_cryoframe__leaves_folder_and_logging_alone(tmp_path: Path) -> None:
    code = (
        "import logging, sys, warnings\n"
        "before = (list(sys.path), sys.excepthook, list(warnings.filters))\n"
        "import cryoframe\n"
        "assert before == (list(sys.path), sys.excepthook, list(warnings.filters))\n"
        "assert not logging.root.handlers and logging.root.level == logging.WARNING\n"
        "assert not any(name in sys.modules for name in ('numpy', 'pyarrow', 'pluggy'))\n"
    )
    assert facts.python(code, cwd=tmp_path) == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", sorted({module for _, _, module in facts.offered()}))
def test_importing_a_plugin__pulls_no_compiler_and_leaves_no_trace(module: str, tmp_path: Path) -> None:
    code = (
        "import importlib, logging, sys\n"
        "importlib.import_module(sys.argv[1])\n"
        "assert not logging.root.handlers\n"
        "print([name for name in ('numba', 'cupy', 'rich', 'watchdog', 'apsw') if name in sys.modules])\n"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    assert facts.python(code, module, cwd=tmp_path, environment=environment).strip() == "[]"
    assert not list(tmp_path.iterdir())
