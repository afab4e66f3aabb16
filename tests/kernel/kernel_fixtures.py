"""Fixtures of the kernel's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from cryoframe.kernel import discovery
from cryoframe.kernel.discovery import Offer


@pytest.fixture
def no_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail any test that looks at what is installed: the kernel stands without one plugin."""

    def refuse() -> list[object]:
        raise AssertionError("this test may not look for installed plugins")

    monkeypatch.setattr(discovery, "fast_rows", refuse)
    monkeypatch.setattr(discovery, "patient_rows", refuse)


@pytest.fixture
def plugin_file(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a one-file plugin and return its path."""

    def write(name: str, source: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(dedent(source), encoding="utf-8")
        return path

    return write


@pytest.fixture
def offer() -> Callable[..., Offer]:
    """Make an offer that nobody installed."""

    def make(hook: str, name: str = "own", distribution: str = "facility", **more: str) -> Offer:
        return Offer(hook, name, more.pop("target", "json"), distribution, more.pop("version", "1.0"), **more)

    return make
