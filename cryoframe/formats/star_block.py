"""One block of a STAR file and typed, line-numbered access to its values; the tokenizer is in ``star``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cryoframe.errors import Corrupt, SchemaError, nearest


@dataclass
class StarBlock:
    """One ``data_`` block: a loop of rows, or a list of single values (one row).

    ``columns`` maps the name without its underscore (``rlnDefocusU``) to the values as text.
    """

    columns: dict[str, list[str]]
    is_loop: bool = True
    path: str = ""
    row_lines: Sequence[int] = ()
    """Line of each row (loop) or of each value (not a loop), from 1."""
    version: int | None = None
    """RELION's ``# version`` comment before the block."""
    value_lines: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Column names in the file's order."""
        return list(self.columns)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def strings(self, name: str) -> list[str]:
        """Return the column as written."""
        if name not in self.columns:
            raise SchemaError(f"{self.path or 'STAR block'} has no column {name!r}{nearest(name, self.columns)}")
        return self.columns[name]

    def floats(self, name: str, *, finite: bool = True) -> NDArray[np.float64]:
        """Return the column as float64 `(n_rows,)`.

        Raises
        ------
        Corrupt
            With line number: not a decimal number, or not finite and `finite` demanded.
        """
        texts = self.strings(name)
        try:
            if any("_" in text for text in texts):
                raise ValueError
            values = np.array([float(text) for text in texts], np.float64)
        except ValueError:
            raise self._bad(name, _first(texts, _not_a_number), "a decimal number") from None
        if finite and not np.isfinite(values).all():
            raise self._bad(name, int(np.flatnonzero(~np.isfinite(values))[0]), "a finite number")
        return values

    def ints(self, name: str) -> NDArray[np.int64]:
        """Return the column as int64 `(n_rows,)`; ``7.000`` counts as 7, ``7.5`` does not.

        Raises
        ------
        Corrupt
            With line number: not a whole number, or beyond 64 bits.
        """
        texts = self.strings(name)
        try:
            return np.array([_whole(text) for text in texts], np.int64)
        except (ValueError, OverflowError):
            raise self._bad(name, _first(texts, _not_whole), "a whole number") from None

    def value(self, name: str) -> str:
        """Return the text of a one-row block's value."""
        texts = self.strings(name)
        if len(texts) != 1:
            raise SchemaError(f"{self.path}: column {name!r} has {len(texts)} rows, expected one value")
        return texts[0]

    def line_of(self, name: str, row: int) -> int:
        """Line of a value, 0 where the block was not read from a file."""
        if name in self.value_lines:
            return self.value_lines[name]
        return self.row_lines[row] if row < len(self.row_lines) else 0

    def _bad(self, name: str, row: int, expected: str) -> Corrupt:
        return Corrupt(
            f"column {name!r} holds {self.columns[name][row]!r}",
            path=self.path,
            where=f"line {self.line_of(name, row)}",
            expected=expected,
            remedy="Correct the value or write the file again.",
        )


def _whole(text: str) -> int:
    if "_" in text:
        raise ValueError(text)
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():
            raise ValueError(text) from None
        return int(value)


def _not_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return "_" in text


def _not_whole(text: str) -> bool:
    try:
        return not -(2**63) <= _whole(text) < 2**63
    except (ValueError, OverflowError):
        return True


def _first(texts: Sequence[str], wrong: Callable[[str], bool]) -> int:
    return next((row for row, text in enumerate(texts) if wrong(text)), 0)
