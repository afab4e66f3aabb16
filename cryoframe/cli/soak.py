"""``cryoframe soak``: load tests with faults on this machine, each judged against its limits."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryoframe.cli import numbers
from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.errors import ConfigError

SCALE = 0.01


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "tests", nargs="*", metavar="TEST", help="LT1 … LT13, overheads; all but LT10 when none is named"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--scale", type=numbers.not_negative, default=SCALE, help=f"part of the full size (default {SCALE}; 1 = full)"
    )
    parser.add_argument("--hours", type=numbers.not_negative, help="length of LT10 (default 2); adds it to the tests")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to work, made if need be (default: a temporary folder)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures here")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Run; 1 when a limit is not kept."""
    from cryoframe.testing.soak.catalogue import LONG, TESTS, chosen
    from cryoframe.testing.soak.score import Room

    if options.list:
        rows = {name: test.title for name, test in TESTS.items()}
        emit(rows) if options.json else say("\n".join(f"{name:<10} {title}" for name, title in rows.items()))
        return 0
    tests = chosen(options.tests)
    if options.hours is not None and LONG not in [test.name for test in tests]:
        tests = [*tests, TESTS[LONG]] if options.tests else [TESTS[LONG]]
    facts: list[dict[str, Any]] = []
    for test in tests:
        complain(f"{test.name}: {test.title} …")
        with _folder(options.folder) as folder:
            verdict = test.judged(Room(folder, options.scale, options.seed, options.hours or 2.0))
            facts.append(verdict.facts())
            if not options.json:
                say("\n".join(verdict.text()))  # clearing up may take minutes
    _write(options, {"scale": options.scale, "seed": options.seed, "n_cpus": os.cpu_count(), "tests": facts})
    return int(not all(entry["passed"] for entry in facts))


@contextlib.contextmanager
def _folder(parent: Path | None) -> Iterator[Path]:
    if parent is not None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--folder {parent} cannot be made ({error.strerror})", expected="a folder") from error
    with tempfile.TemporaryDirectory(prefix="cryoframe-soak-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _write(options: argparse.Namespace, said: dict[str, Any]) -> None:
    if options.json:
        emit(said)
    if options.out:
        import json

        options.out.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    if not options.json:
        failed = [entry["test"] for entry in said["tests"] if not entry["passed"]]
        say(f"{len(said['tests'])} load tests, failed: {', '.join(failed) or 'none'}")
