"""What a program is told: arguments, standard input, environment. Nothing is run here, and no shell reads any of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from cryoframe.errors import InvalidInput


@dataclass(frozen=True)
class Command:
    """Arguments of one call; file names are best relative to the folder the program works in.

    Parameters
    ----------
    argv
        Arguments after the program's own name, one text each.
    stdin
        What the program reads from its standard input; None closes it.
    environment
        (name, value) pairs set besides the inherited environment.

    Raises
    ------
    InvalidInput
        For an argument that is no text, or text that no argument can hold.
    """

    argv: tuple[str, ...]
    stdin: str | None = None
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        given: object = self.argv
        if not isinstance(given, tuple):
            raise InvalidInput(f"argv is {given!r}", expected="a tuple of texts, one an argument; never a shell line")
        for text in (*given, *(part for pair in self.environment for part in pair)):
            if not isinstance(text, str) or "\0" in text:
                raise InvalidInput(f"argument {text!r}", expected="text without NUL")
        for name, _ in self.environment:
            if not name or "=" in name:
                raise InvalidInput(f"environment variable {name!r}", expected="a name without '='")

    def __str__(self) -> str:
        return shlex.join(self.argv)
