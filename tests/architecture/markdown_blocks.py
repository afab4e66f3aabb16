"""Fenced blocks of Markdown documents, with where they stand; nothing is run here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block; `marks` are the words after the language."""

    document: str
    line: int
    language: str
    marks: tuple[str, ...]
    body: str

    @property
    def label(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(path: Path, language: str) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        name, *marks = match["info"].split() or [""]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(path.name, line, name, tuple(marks), match["body"]))
    return [block for block in found if block.language == language]


def commands(block: Block) -> list[str]:
    """Command lines of a console block: those that start with ``$``, continued lines joined."""
    joined = block.body.replace("\\\n", " ")
    return [line[2:].partition("  #")[0].strip() for line in joined.splitlines() if line.startswith("$ ")]
