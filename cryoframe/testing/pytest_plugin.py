"""The only room that imports pytest: the parametrised conformance test, fixtures, and figures shown after a run.

Tests that measure something call the ``figure`` fixture; what they measured is printed at the end, also with several
workers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cryoframe.testing.conformance import Examination, Question

FIGURE = "figure"


def parametrised(examination: Examination) -> Callable[..., None]:
    """Return a test of each question of an examination, named ``hook-check``."""

    @pytest.mark.parametrize("question", examination.questions, ids=lambda q: f"{q.hook}-{q.check}")
    def test_conformance(question: Question, tmp_path_factory: pytest.TempPathFactory) -> None:
        examination.answer(question, lambda: tmp_path_factory.mktemp("conformance"))

    return test_conformance


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """Record a measured value under a name; it is printed when the run is over."""

    def record(name: str, value: object) -> None:
        record_property(f"{FIGURE}: {name}", value)

    return record


@pytest.fixture
def no_discovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no installed plugin be found: what passes under it does not lean on any."""
    from cryoframe.kernel import discovery

    monkeypatch.setattr(discovery, "scan", lambda: ())
    monkeypatch.setattr("cryoframe.testing.conformance.scan", lambda: ())


@pytest.fixture
def phantom(tmp_path: Path) -> Callable[[str], object]:
    """Return a function hook → the kit's nominal case for it."""
    from cryoframe.testing import cases

    return lambda hook: cases.make(hook, "nominal", tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured."""
    figures = {
        name.removeprefix(f"{FIGURE}: "): value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name.startswith(FIGURE)
    }
    if figures:
        terminalreporter.write_sep("=", "figures")
        for name, value in sorted(figures.items()):
            terminalreporter.write_line(f"{name}: {value}")
