"""``cryoframe bench``: benchmarks that make their own data and run ours and others' programs on it, in one table."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.cli import numbers
from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.errors import ConfigError

if TYPE_CHECKING:
    from cryoframe.bench.preprocessing import Done

SUBJECTS = ("preprocessing",)
EPILOG = """
preprocessing: motion correction, CTF estimation, picking and extraction on simulated movies and micrographs, with
RELION's programs on the same files where they are installed. CPU seconds and memory are those of processes of their
own, children included, one thread each. The exit status is 1 where a call failed; an aim that is missed is said, and
is no failure. --quick takes a few minutes, the default half an hour, --full hours.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    add = parser.add_argument
    add("subject", metavar="SUBJECT", choices=SUBJECTS, help="what is measured: preprocessing")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="small movies and few fields")
    sizes.add_argument("--full", action="store_true", help="more movies, of 40 frames too, and 2000 fields")
    add("--only", default="", metavar="PART,…", help="these parts only: motion, ctf, picking, extraction")
    add(
        "--tracks",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE.star",
        help="motion STAR files of RELION whose tracks drive the movies (default: motion is drawn)",
    )
    add("--out", type=Path, metavar="DIR", help="write bench.json, bench.md and bench.html there, and make data there")
    add("--seed", type=numbers.seed, default=1, help="of movies and fields")
    add("--keep", action="store_true", help="leave the data lying")
    add("--plugin-file", type=Path, action="append", default=[], metavar="FILE", help="a one-file plugin")
    add("--quiet", action="store_true", help="no progress on standard error")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Measure; 1 when a call failed."""
    from cryoframe.bench import preprocessing
    from cryoframe.bench.calls import NOT_FOUND
    from cryoframe.bench.sizes import parts_named, sizes_named
    from cryoframe.cli.stage import collection
    from cryoframe.view.making import making_progress

    parts = parts_named(options.only)
    sizes = sizes_named("quick" if options.quick else "full" if options.full else "default")
    tracks = preprocessing.tracks_of(options.tracks)
    plugins = collection(options)
    if options.out is not None:
        _check_out(options.out)
    absent = preprocessing.missing_peers()
    if absent:
        complain(f"{NOT_FOUND} ({', '.join(absent)} not on the PATH)")
    stages = preprocessing.stages_of(parts)
    total = len(stages) + preprocessing.n_steps(sizes, parts)
    with nullcontext(lambda _, __: None) if options.quiet else making_progress("bench", total) as move:
        n_done = 0

        def tell(note: str) -> None:
            nonlocal n_done
            n_done += 1
            move(n_done, note)

        for hook, name in stages:
            _warm_up(hook, name)
            tell(f"{hook} {name} compiled")
        done = preprocessing.run(
            plugins,
            sizes,
            parts=parts,
            betagal=Path(__file__).parent / "demo_data" / "5a1a.cif.gz",
            tracks=tracks,
            folder=options.out,
            seed=options.seed,
            keep=options.keep,
            tell=tell,
        )
    _tell(done, options)
    return int(bool(done.failed))


def _warm_up(hook: str, name: str) -> None:
    """Run a stage once on its phantom: its kernels are compiled then, and the first figure is no dearer than others."""
    from cryoframe.testing import run_checks

    run_checks(hook, name, only=["runs"])


def _check_out(folder: Path) -> None:
    """Refuse before the work, not after it."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out: '{folder}' is no folder")
    folder.mkdir(parents=True, exist_ok=True)


def _tell(done: Done, options: argparse.Namespace) -> None:
    from cryoframe.bench.rows import COLUMNS, markdown
    from cryoframe.view.tables import show

    content: dict[str, Any] = {"facts": done.facts, "rows": [row.facts() for row in done.rows]}
    if options.out is not None:
        from cryoframe.bench.page import page

        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (options.out / "bench.json").write_text(text + "\n", encoding="utf-8")
        title = "Preprocessing, ours and RELION on the same files"
        (options.out / "bench.md").write_text(markdown(done.rows, done.facts, title=title), encoding="utf-8")
        (options.out / "bench.html").write_text(page(done, title), encoding="utf-8")
    if options.json:
        emit(content)
        return
    for name, value in done.facts.items():
        say(f"{name:<18}{value}")
    say()
    show(COLUMNS, [row.cells() for row in done.rows])
    say()
    if options.out is not None:
        say(f"written to {options.out}: bench.json, bench.md, bench.html")
    for row in done.failed:
        complain(f"FAILED {row.part}, {row.what}: {row.failed}")
    for row in done.missed:
        complain(f"missed {row.what}: {row.quantity} is {row.cells()[2]}, aim {row.aim}")
