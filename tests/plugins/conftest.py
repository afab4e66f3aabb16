"""Fixtures of the plugins' tests."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def say(record_property) -> Callable[[str], None]:
    """Write a measured figure to the captured output (seen with -s, -rP or on failure) and into the JUnit report."""

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        record_property("figure", line)

    return write
