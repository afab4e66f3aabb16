"""One line of a benchmark's table: what was measured here and of a peer, their ratio, the aim. Nothing is run here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MAX_CHARACTERS = 500
COLUMNS = ("what", "quantity", "here", "peer", "ratio", "aim")


@dataclass(frozen=True)
class Summary:
    """Median of n values and the range they lie in."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarise values; those that are not finite are left out."""
        known = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
        if not len(known):
            return cls(math.nan, math.nan, math.nan, 0)
        return cls(float(np.median(known)), float(known.min()), float(known.max()), len(known))

    def __str__(self) -> str:
        if not self.n:
            return "none"
        text = number(self.median)
        return text if self.n == 1 or self.low == self.high else f"{text} ({number(self.low)}–{number(self.high)})"


def counted(n: int, what: str) -> str:
    """Return a number of things: ``1 field``, ``3 fields``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def number(value: float) -> str:
    """Return a number with three digits that count, large ones whole."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Row:
    """One quantity, here and of a peer.

    Parameters
    ----------
    part, what, quantity
        Which part of the benchmark; what was run on what; which quantity with its unit.
    here, peer
        One summary, or one an axis (x, y); empty where there is none.
    peer_name
        Who the peer is.
    aim
        In words, with ``met`` saying whether it is reached (None where it cannot be told).
    larger_is_better
        Turns the ratio round: it always says how many times better here is.
    failed
        Why the row is not whole; empty where nothing failed.
    note
        For the reader.
    """

    part: str
    what: str
    quantity: str
    here: tuple[Summary, ...] = ()
    peer: tuple[Summary, ...] = ()
    peer_name: str = ""
    aim: str = ""
    met: bool | None = None
    larger_is_better: bool = False
    failed: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better here is than the peer; of several axes their root of squares counts."""
        here, peer = (math.hypot(*(one.median for one in side)) for side in (self.here, self.peer))
        if not self.here or not self.peer or not here or not peer or math.isnan(here + peer):
            return None
        return here / peer if self.larger_is_better else peer / here

    def cells(self) -> list[str]:
        """Return the text of :data:`COLUMNS`."""
        here = " / ".join(map(str, self.here))
        if self.failed:
            here = f"{here} FAILED: {self.failed}".strip()[:MAX_CHARACTERS]
        peer = " / ".join(map(str, self.peer))
        peer = f"{self.peer_name}: {peer}" if peer else self.peer_name
        ratio = self.ratio
        aim = {True: f"{self.aim} ✓", False: f"{self.aim} MISSED", None: self.aim}[self.met] if self.aim else ""
        quantity = f"{self.quantity}; {self.note}" if self.note else self.quantity
        return [self.what, quantity, here, peer, "" if ratio is None else number(ratio), aim]

    def facts(self) -> dict[str, Any]:
        """Return it as plain values; a number that is none is None, as JSON has it."""
        sides = {
            name: [{key: value if math.isfinite(value) else None for key, value in asdict(one).items()} for one in side]
            for name, side in (("here", self.here), ("peer", self.peer))
        }
        return asdict(self) | sides | {"ratio": self.ratio}


def failure(part: str, what: str, words: str, *, quantity: str = "calls") -> list[Row]:
    """Return the row that tells of a failure; none where `words` are empty."""
    return [Row(part, what, quantity, failed=words)] if words else []


def markdown(rows: Sequence[Row], facts: Mapping[str, str], *, title: str) -> str:
    """Return the table as it goes into a document: facts of the machine first."""
    lines = [f"## {title}", "", "; ".join(f"{name} {value}" for name, value in facts.items()) + ".", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    lines += ["| " + " | ".join(_escaped(cell) for cell in row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
