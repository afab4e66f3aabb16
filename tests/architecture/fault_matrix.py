"""The list of faults and of what injects them: read, held to the files, drawn as a table. Runs no test.

``python tests/architecture/fault_matrix.py`` prints the table.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
LIST = REPOSITORY / "tests" / "fault_matrix.toml"
GROUPS = {"L": 21, "B": 20, "P": 18, "G": 14, "N": 14, "C": 5}
ROWS = (*(f"{letter}{number + 1}" for letter, n in GROUPS.items() for number in range(n)), "S7", "S9")
FIELDS = {"fault", "tests", "campaign", "trials", "most", "violations", "asked", "short", "not_covered"}

Row = Mapping[str, Any]


def rows() -> dict[str, Row]:
    """Return the list by row; TOML refuses a row that is there twice."""
    return tomllib.loads(LIST.read_text(encoding="utf-8"))


@cache
def tests_of(path: Path) -> frozenset[str]:
    """Return the names that pytest collects from a file, as far as its text tells."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    made = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(name for name in functions | made if name.startswith("test_"))


def problems() -> Iterator[str]:
    """Yield everything in the list that is not so."""
    found = rows()
    yield from (f"{name}: not in the list" for name in ROWS if name not in found)
    yield from (f"{name}: no row of the matrix" for name in found if name not in ROWS)
    for name, row in found.items():
        yield from (f"{name}: no field is called '{field}'" for field in row if field not in FIELDS)
        if not row.get("fault") or not (row.get("tests") or row.get("not_covered")):
            yield f"{name}: says neither what injects it nor why nothing does"
        if row.get("most") and not row.get("campaign"):
            yield f"{name}: the most trials are of no campaign"
        yield from (f"{name}: {what}" for test in row.get("tests", ()) if (what := _absent(test)))
        script = next((word for word in row.get("campaign", "").split() if word.endswith(".py")), "")
        if script and not (REPOSITORY / script).is_file():
            yield f"{name}: there is no {script}"


def _absent(test: str) -> str:
    path, _, function = test.partition("::")
    if not (REPOSITORY / path).is_file():
        return f"there is no {path}"
    return "" if not function or function in tests_of(REPOSITORY / path) else f"{path} has no {function}"


def bound(n_violations: int, n_trials: int) -> str:
    """Return a count with the 95 % bound that a zero in so many trials has (3/n)."""
    if not n_trials:
        return "none found in the source"
    return str(n_violations) if n_violations else f"0 (≤ {min(100.0, 300 / n_trials):.3g} %)"


def table() -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    yield "| row | fault | trials | violations (95 % bound) | tests, campaign | short of the row |"
    yield "| --- | --- | --- | --- | --- | --- |"
    found = rows()
    for name in sorted(ROWS, key=lambda name: ("LBPGNSC".index(name[0]), int(name[1:]))):
        row = found[name]
        if "not_covered" in row:
            yield f"| {name} | {row['fault']} | | not covered | | {row['not_covered']} |"
            continue
        n_trials = int(row.get("most") or row.get("trials", 0))
        files = sorted({f"`{Path(test.partition('::')[0]).relative_to('tests')}`" for test in row["tests"]})
        where = ", ".join(files) + (f"; `{row['campaign']}`" if "campaign" in row else "")
        lacks = "; ".join(text for text in (row.get("asked") and f"asked: {row['asked']}", row.get("short")) if text)
        trials = f"{n_trials:,}".replace(",", " ") if n_trials else ""
        violations = bound(int(row.get("violations", 0)), n_trials)
        yield f"| {name} | {row['fault']} | {trials} | {violations} | {where} | {lacks} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
