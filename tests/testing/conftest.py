"""What these tests measure is printed when the run is over."""

from __future__ import annotations

from cryoframe.testing.pytest_plugin import figure, pytest_terminal_summary

__all__ = ["figure", "pytest_terminal_summary"]
