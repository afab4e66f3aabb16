"""What a load test found: figures with their limits, and the bound that goes with every zero. Measures nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One figure.

    Parameters
    ----------
    name, value, unit
        What was found.
    limit
        What it may be at most; None = it is told, not judged.
    n_trials
        Of how many trials a count of violations is; a zero then has its 95 % bound, 3/n, beside it.
    at_least
        The limit is what it must be at least.
    """

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    n_trials: int = 0
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def text(self) -> str:
        """Return the line for people."""
        value = f"{self.value:.0f}" if float(self.value).is_integer() else f"{self.value:.3g}"
        of = f" of {self.n_trials}" if self.n_trials else ""
        unit = f" {self.unit}" if self.unit else ""
        bound = f" (95 %: ≤ {min(100.0, 300 / self.n_trials):.2g} %)" if self.n_trials and not self.value else ""
        limit = "" if self.limit is None else f"  [{'≥' if self.at_least else '≤'} {self.limit:g}{unit}]"
        mark = "  " if self.limit is None else "✔ " if self.passed else "✘ "
        return f"{mark}{self.name}: {value}{of}{unit}{bound}{limit}"


@dataclass
class Verdict:
    """What came of a load test."""

    test: str
    title: str
    lines: list[Line] = field(default_factory=list)
    #: Each violation in words, and what was not done.
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    #: Why it could not be run here, if so.
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether every line keeps its limit, if there are any."""
        return bool(self.lines or self.skipped) and all(line.passed for line in self.lines)

    def count(self, name: str, found: Sequence[str], n_trials: int) -> None:
        """Add a line that must be zero, and what was found against it."""
        self.lines.append(Line(name, len(found), limit=0, n_trials=n_trials))
        self.notes += [f"{name}: {one}" for one in found[:10]]

    def figure(
        self, name: str, value: float, unit: str = "", limit: float | None = None, *, least: bool = False
    ) -> None:
        """Add a figure."""
        self.lines.append(Line(name, value, unit, limit, at_least=least))

    def text(self) -> list[str]:
        """Return the lines for people."""
        word = f"not run: {self.skipped}" if self.skipped else "passed" if self.passed else "FAILED"
        head = f"{self.test} {self.title}: {word} ({self.seconds:.0f} s)"
        return [head, *(f"  {line.text()}" for line in self.lines), *(f"    {note}" for note in self.notes)]

    def facts(self) -> dict[str, object]:
        """Return it for programs."""
        lines = [asdict(line) | {"passed": line.passed} for line in self.lines]
        return asdict(self) | {"passed": self.passed, "lines": lines}


@dataclass(frozen=True)
class Room:
    """Where and how large a load test is to be.

    Parameters
    ----------
    folder
        Empty; everything is written below it.
    scale
        Part of the full size.
    seed
        Of everything that is left to chance but the moments at which processes happen to be.
    hours
        Length of the long session.
    """

    folder: Path
    scale: float = 0.02
    seed: int = 1
    hours: float = 2.0

    def size(self, full: int, least: int = 1) -> int:
        """Return a number of trials at this scale."""
        return max(least, round(full * self.scale))


@dataclass(frozen=True)
class LoadTest:
    """One load test: its name, what it does, and how."""

    name: str
    title: str
    run: Callable[[Room, Verdict], None]

    def judged(self, room: Room) -> Verdict:
        """Run it; an error of its own is a failure."""
        verdict, start_s = Verdict(self.name, self.title), time.monotonic()
        try:
            self.run(room, verdict)
        except Exception as error:
            verdict.count("ended by itself", [f"{type(error).__name__}: {error}"], 1)
        verdict.seconds = time.monotonic() - start_s
        return verdict
