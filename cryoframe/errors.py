"""Every exception class of cryoframe and the message builder; no logic of any stage lives here.

An error says what was wrong, what was expected and what to do. Its ``kind`` decides how the runner treats it:
``file`` (this item only, quarantine fast), ``environment`` (disk, share, memory: retry without counting),
``bug`` (a plugin's fault: retry, count), ``user`` (configuration or command line: stop and say so).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from os import PathLike
from typing import ClassVar


class CryoframeError(Exception):
    """Root of all errors raised on purpose.

    Parameters
    ----------
    what
        What was wrong, with the offending value.
    expected
        What would have been right.
    remedy
        What the reader can do about it.
    """

    kind: ClassVar[str] = "bug"

    def __init__(self, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.what, self.expected, self.remedy = what, expected, remedy
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        text = "; ".join(parts)
        return f"{text}. {self.remedy}" if self.remedy else text


class InvalidInput(CryoframeError, ValueError):
    """An argument of a public function is outside what the function is defined for.

    Within a stage call it is the item, not the plugin, that is at fault: repeating it changes nothing.
    """

    kind = "file"


class ConfigError(CryoframeError):
    """The configuration file or the command line cannot be understood."""

    kind = "user"


class PluginError(CryoframeError):
    """A plugin cannot be found, loaded or told apart from another."""

    kind = "user"


class ContractError(CryoframeError):
    """A plugin does not keep the hookspec's contract: signature, ``Params`` or result."""


class ConformanceError(CryoframeError):
    """A check of the conformance kit failed; ``check`` is the name of that check."""

    def __init__(self, what: str, *, check: str = "", expected: str = "", remedy: str = "") -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.check = check


class SchemaError(CryoframeError, ValueError):
    """A table or product does not have the declared columns, types or version."""


class HalfSetError(CryoframeError):
    """A hand-over would let data of one half-set reach the other."""


class StoreError(CryoframeError):
    """The content-addressed store refuses or finds damage."""


class EnvironmentFault(CryoframeError):
    """Disk, share, memory or node trouble: nobody's data or code is to blame; retried without counting."""

    kind = "environment"


class OutOfReach(EnvironmentFault):
    """A file or folder that was there cannot be reached now: a share is away, or somebody took the file."""


class Cancelled(CryoframeError):
    """The stage call was asked to stop and did."""

    kind = "environment"


class FileError(CryoframeError):
    """A file cannot be used; base of the four outcomes a reader may have besides success.

    Parameters
    ----------
    what
        What was wrong.
    path
        The file.
    where
        Byte offset, line or frame, as text (``"offset 1024"``, ``"line 7"``).
    expected, remedy
        As in :class:`CryoframeError`.
    """

    kind = "file"

    def __init__(
        self, what: str, *, path: str | PathLike[str] = "", where: str = "", expected: str = "", remedy: str = ""
    ) -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.path, self.where = str(path), where

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.path, self.where) if part)
        text = super().__str__()
        return f"{place}: {text}" if place else text


class Incomplete(FileError):
    """The file ends before its own header says it should: it may still be being written."""


class Corrupt(FileError):
    """The file contradicts itself; waiting will not mend it."""


class Unsupported(FileError):
    """The file is whole and of a kind, mode or version this reader does not read."""


class Refused(FileError):
    """The file is readable and must not be used: unsafe path, absurd size, non-physical value."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" — did you mean 'x'?"`` for the nearest of `known`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" — did you mean '{close[0]}'?" if close else ""
