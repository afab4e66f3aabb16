"""Facts about the repository that several architecture tests compare; no assertion lives here."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
CONTRIB = ROOT / "contrib"
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plugin_folders() -> set[str]:
    """Import packages under plugins/ and contrib/: folders with at least one Python file of their own."""
    return {
        folder.name
        for home in (PLUGINS, CONTRIB)
        if home.is_dir()
        for folder in home.iterdir()
        if any(folder.glob("*.py"))
    }


def wheel_packages() -> set[str]:
    listed = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return {Path(entry).name for entry in listed if entry.split("/")[0] in ("plugins", "contrib")}


def offered() -> list[tuple[str, str, str]]:
    """Every entry point under cryoframe.* as (hook, name, module)."""
    groups = project()["project"]["entry-points"]
    return sorted(
        (group.removeprefix("cryoframe."), name, target.partition(":")[0])
        for group, entries in groups.items()
        if group.startswith("cryoframe.")
        for name, target in entries.items()
    )


def contract(name: str) -> dict[str, Any]:
    return next(entry for entry in project()["tool"]["importlinter"]["contracts"] if entry["name"] == name)


def source_files(*, tests: bool = False) -> list[Path]:
    homes = [ROOT / "cryoframe", PLUGINS, CONTRIB, *([ROOT / "tests"] if tests else [])]
    return sorted(path for home in homes if home.is_dir() for path in home.rglob("*.py"))


@dataclass(frozen=True)
class FunctionSize:
    place: str
    n_lines: int


def functions(path: Path) -> Iterator[FunctionSize]:
    """Yield each function's size from ``def`` to its last line, docstring included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            yield FunctionSize(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", size)


def n_code_lines(paths: Iterable[Path]) -> int:
    """Lines that hold code: neither blank nor only comment nor part of a docstring."""
    total = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        kept: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in _NO_CODE:
                kept |= set(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                kept -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        total += len(kept)
    return total


def python(code: str, *arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Run a snippet in a fresh interpreter and return its standard output; its failure is the caller's failure."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(command: Sequence[str], *, cwd: Path = ROOT, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(command), cwd=cwd, capture_output=True, text=True, timeout=timeout_s)
