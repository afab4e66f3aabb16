"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cryoframe.testing.pytest_plugin import figure, pytest_terminal_summary

__all__ = ["figure", "pytest_terminal_summary"]

pytest_plugins = ("kernel_fixtures",)
# The test processes share the cores: BLAS threads of two of them spin against each other, for twice the CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]


class _ToldAtOnce:
    """Names a failed test when it fails: a run that is cut off would not name any."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f" failed ({report.when}): {report.nodeid}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_ToldAtOnce(terminal), "told_at_once")


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real measurements beside the checkout; tests that need them skip, visibly, where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip(f"real data folder {folder} is absent")
    return folder
