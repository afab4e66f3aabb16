"""Files and functions stay small, names say what is in them, and the kernel stays small as a whole."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable

import repository_facts as facts

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_KERNEL_LINES = 2500
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "base", "core"}
Record = Callable[[str, object], None]


def _n_lines(path: object) -> int:
    from pathlib import Path

    return len(Path(str(path)).read_text(encoding="utf-8").splitlines())


def test_every_file__has_at_most_400_lines(figure: Record) -> None:
    sizes = {path: _n_lines(path) for path in facts.source_files(tests=True)}
    figure("median file [lines]", statistics.median(sizes.values()))
    figure("largest file [lines]", max(sizes.values()))
    assert not {str(path.relative_to(facts.ROOT)): n for path, n in sizes.items() if n > MAX_FILE_LINES}


def test_every_function__has_at_most_80_lines(figure: Record) -> None:
    sizes = [size for path in facts.source_files(tests=True) for size in facts.functions(path)]
    figure("median function [lines]", statistics.median(size.n_lines for size in sizes))
    figure("largest function [lines]", max(size.n_lines for size in sizes))
    assert not [size for size in sizes if size.n_lines > MAX_FUNCTION_LINES]


def test_the_kernel__has_at_most_2500_lines(figure: Record) -> None:
    totals = {}
    for room in ("kernel", "records", "execution"):
        files = sorted((facts.ROOT / "cryoframe" / room).rglob("*.py"))
        totals[room] = sum(_n_lines(path) for path in files)
        figure(f"{room} [lines]", totals[room])
        figure(f"{room} [lines of code, without blank lines, comments and docstrings]", facts.n_code_lines(files))
    assert 0 < totals["kernel"] <= MAX_KERNEL_LINES


def test_no_module__has_a_name_that_says_nothing() -> None:
    paths = facts.source_files(tests=True)
    assert not [str(path.relative_to(facts.ROOT)) for path in paths if path.stem.strip("_") in FORBIDDEN_NAMES]
    folders = {path.parent for path in paths}
    assert not [str(folder.relative_to(facts.ROOT)) for folder in folders if folder.name in FORBIDDEN_NAMES]


def test_every_module__begins_with_a_sentence_about_what_lives_there() -> None:
    import ast

    silent = []
    for path in facts.source_files():
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if not doc or not doc.splitlines()[0].rstrip().endswith((".", ":", "?", "!")):
            silent.append(str(path.relative_to(facts.ROOT)))
    assert not silent


def test_no_image_or_volume__hides_behind_an_abbreviation() -> None:
    wrong = re.compile(r"\b(?:def|class)\s+\w*(?:\bimg\b|\bvol\b|data2)|\b(?:img|data2)\s*[:=,)]")
    found = [
        f"{path.relative_to(facts.ROOT)}:{number}"
        for path in facts.source_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if wrong.search(line) and '"' not in line and "`" not in line
    ]
    assert not found
