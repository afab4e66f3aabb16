"""Fixtures every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoframe.testing.pytest_plugin import figure, pytest_terminal_summary

__all__ = ["figure", "pytest_terminal_summary"]

pytest_plugins = ("kernel_fixtures",)
ROOT = Path(__file__).resolve().parents[1]


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
