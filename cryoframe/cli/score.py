"""``cryoframe score``: a run, products or STAR files against the truth of a simulated session, in one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.cli.output import complain, emit, json_flag, say

if TYPE_CHECKING:
    from cryoframe.compare.truth_table import Scores

#: So many exposures that were lost are named.
MAX_LOST = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    text = "a run's TOML or folder, folders of products, or STAR files of particles, micrographs or motion"
    add("what", metavar="WHAT", nargs="+", type=Path, help=text)
    add("--truth", type=Path, required=True, metavar="DIR", help="what `cryoframe simulate --truth` wrote")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Score; 1 when a movie of the session was lost without a word: neither processed nor set aside with a reason."""
    from cryoframe.compare.truth import Truth
    from cryoframe.compare.truth_answers import gathered
    from cryoframe.compare.truth_table import score

    truth = Truth.open(options.truth)
    scores = score(gathered([_source(path) for path in options.what], truth), truth)
    if options.json:
        emit({"truth": str(options.truth), "n_exposures": len(truth.made), **scores.facts()})
    else:
        _show(scores)
    return int(any(scores.fates.get(state, 0) for state in ("absent", "unfinished")))


def _source(path: Path) -> Path:
    if path.suffix == ".toml":
        from cryoframe.cli.runs import folder_of

        return folder_of(path)
    return path


def _show(scores: Scores) -> None:
    from cryoframe.compare.truth_scores import QUANTITIES
    from cryoframe.view.tables import show

    titles = {name: quantity.title for name, quantity in QUANTITIES.items()}
    rows = [[r.stage, titles.get(r.quantity, r.quantity), r.value, r.unit, r.worst, r.n] for r in scores.rows]
    show(["stage", "against the truth", "median", "unit", "worst", "exposures"], rows)
    if scores.faults:
        say()
        names = ["fault", "exposures", "refused", "shows", "unseen", "where"]
        show(names, [[f.fault, f.n, f.n_refused, f.n_show, f.n_unseen, f.where] for f in scores.faults])
    if scores.fates:
        say("movies: " + ", ".join(f"{count} {state}" for state, count in scores.fates.items()))
    for name, why in list(scores.lost.items())[:MAX_LOST]:
        complain(f"  {name}: {why}")
    if (more := len(scores.lost) - MAX_LOST) > 0:
        complain(f"  and {more} more; --json names all")
    if scores.strangers:
        complain(f"  {len(scores.strangers)} items are of no exposure of this session, e.g. {scores.strangers[0]}")
