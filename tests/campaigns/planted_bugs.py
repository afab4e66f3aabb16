"""The test of the tests: bugs planted one at a time in a copy of the tree, each to be caught by the tests of its part.

``python tests/campaigns/planted_bugs.py`` before a release; a bug that is not caught is a test that is missing.
``--only NAME`` for one, ``--list`` to see them. The original text of each must be there exactly once: so a bug whose
place has changed is not silently skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from planted_bugs_landing import LANDING
from planted_bugs_list import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("cryoframe", "plugins", "contrib", "tests", "examples", "pyproject.toml", "README.md")
LIMIT_S = 600.0
#: The tests of all bugs together, without a bug.
WHOLE_LIMIT_S = 7200.0
MOST_PASSED_OVER = 5


@dataclass(frozen=True)
class Trial:
    """What the tests said of a tree; `failed` are all that failed, `by` is the first."""

    caught: bool
    by: str
    seconds: float
    failed: tuple[str, ...] = ()


def plant(tree: Path, bug: Bug) -> None:
    """Put a bug into a tree.

    Raises
    ------
    SystemExit
        If its place is not there exactly once.
    """
    path = tree / bug.file
    text = path.read_text(encoding="utf-8")
    if text.count(bug.good) != 1:
        raise SystemExit(f"{bug.name}: its text is {text.count(bug.good)} times in {bug.file}, not once")
    path.write_text(text.replace(bug.good, bug.bad), encoding="utf-8")


@contextmanager
def planted(tree: Path, bug: Bug) -> Iterator[None]:
    """Have a bug in a tree for a while."""
    path = tree / bug.file
    whole = path.read_text(encoding="utf-8")
    plant(tree, bug)
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")


def tried(tree: Path, tests: Sequence[str], limit_s: float = LIMIT_S, *, to_the_end: bool = False) -> Trial:
    """Run tests in a tree until the first fails, or all of them."""
    start_s = time.monotonic()
    paths = [str(tree), str(tree / "plugins"), str(tree / "contrib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    command += [] if to_the_end else ["-x"]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Trial(True, f"hung for {limit_s:.0f} s", limit_s)
    failed = [line.partition(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode not in (0, 1) and not failed:
        raise SystemExit(f"the tests could not be run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    names = tuple(line.partition(" ")[2] for line in failed)
    return Trial(bool(failed), names[0] if names else "", time.monotonic() - start_s, names)


def unsound(tree: Path, tests: Sequence[str]) -> list[str]:
    """Return which tests fail in the whole tree, alone as well: of two hours on a busy machine one may in company."""
    whole = tried(tree, tests, WHOLE_LIMIT_S, to_the_end=True)
    if whole.caught and not whole.failed:
        return [whole.by]
    return [name for name in whole.failed if tried(tree, [name]).caught]


def copied(folder: Path) -> Path:
    """Copy the tree; data are shared."""
    tree = folder / "tree"
    tree.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy2(source, tree / name)
    if (ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    return tree


def main(words: Sequence[str]) -> int:
    """Plant every bug and print which test caught it; 1 if one was not caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--trust", action="store_true", help="do not run the tests on the whole tree first")
    options = parser.parse_args(words)
    chosen = [bug for bug in (*BUGS, *LANDING) if not options.only or bug.name in options.only]
    if options.list:
        sys.stdout.write("".join(f"{bug.name:<36} {bug.file}\n" for bug in chosen))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder))
        for bug in chosen:
            with planted(tree, bug):
                pass
        failed = [] if options.trust else unsound(tree, sorted({test for bug in chosen for test in bug.tests}))
        if failed:
            sys.stdout.write(f"the whole tree fails {', '.join(failed)}: nothing can be said of bugs\n")
            return 1
        return _table([(bug, _trial(tree, bug)) for bug in chosen])


def _trial(tree: Path, bug: Bug) -> Trial:
    """Plant a bug and see which test notices; one that fails without the bug as well says nothing, and is left out."""
    passed_over: list[str] = []
    while True:
        with planted(tree, bug):
            left_out = [f"--deselect={name}" for name in passed_over]
            found = tried(tree, [*bug.tests, *left_out, *(["-k", bug.only] if bug.only else [])])
        if not (found.caught and "::" in found.by and tried(tree, [found.by]).caught):
            break
        passed_over.append(found.by)
        if len(passed_over) > MOST_PASSED_OVER:
            found = Trial(False, "", found.seconds)
            break
    name = found.by.rpartition("/")[2]
    sys.stdout.write(
        f"{bug.name:<36} {f'caught by {name}' if found.caught else 'NOT CAUGHT'} ({found.seconds:.0f} s)\n"
    )
    sys.stdout.flush()
    return found


def _table(trials: Sequence[tuple[Bug, Trial]]) -> int:
    n_caught = sum(trial.caught for _, trial in trials)
    sys.stdout.write(f"{n_caught} of {len(trials)} planted bugs caught\n")
    for bug, trial in trials:
        if not trial.caught:
            sys.stdout.write(f"  {bug.name}: {bug.what}\n")
    return int(n_caught < len(trials))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
