"""What the tests of the wrapped RELION programs share: kept answers, who may run, what is left running."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from recording import RECORDED


def kept(kind: str) -> list[Path]:
    """Folders of the recorded answers of a kind, by version."""
    return sorted(RECORDED.glob(f"*/{kind}"))


def needs(program: str) -> list[pytest.MarkDecorator]:
    """Marks of tests that start a program of RELION."""
    return [
        pytest.mark.relion,
        pytest.mark.skipif(shutil.which(program) is None, reason="RELION is not installed"),
    ]


def left_in(folder: Path, *, within_s: float = 10.0) -> list[str]:
    """Processes whose current folder is this one, once they had time to end."""
    until_s = time.monotonic() + within_s
    while (left := _working_in(folder)) and time.monotonic() < until_s:
        time.sleep(0.1)
    return left


def _working_in(folder: Path) -> list[str]:
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder.resolve():
                found.append(link.parent.name)
        except OSError:
            continue
    return found
