"""``cryoframe check``: holds an implementation to the conformance kit and says, check by check, what it found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cryoframe.cli.output import emit, json_flag, say
from cryoframe.errors import PluginError, nearest


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="implementations, as NAME, DISTRIBUTION/NAME or HOOK:NAME"
    )
    parser.add_argument("--all", action="store_true", help="everything installed")
    parser.add_argument(
        "--plugin-file", type=Path, action="append", default=[], metavar="FILE", help="a one-file plugin"
    )
    parser.add_argument("--only", action="append", default=[], metavar="CHECK", help="this check only (repeatable)")
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Check; 1 when a check failed."""
    from cryoframe.kernel.discovery import local_offers, scan
    from cryoframe.testing import run_checks

    local = local_offers(options.plugin_file)
    offers = (*scan(), *local)
    chosen = [offer for name in options.names for offer in _named(name, offers)]
    chosen += offers if options.all else local if not options.names else ()
    if not chosen:
        raise PluginError("nothing to check", expected="a NAME, --plugin-file FILE, or --all")
    report = []
    for offer in dict.fromkeys(chosen):
        results = run_checks(offer.hook, offer.qualified, offers=offers, only=options.only)
        report.append({"hook": offer.hook, "use": offer.qualified, "results": [vars(result) for result in results]})
        if not options.json:
            _show(report[-1])
    if options.json:
        emit(report)
    failed = [entry for entry in report if not all(result["passed"] for result in entry["results"])]
    return int(bool(failed))


def _named(name: str, offers: tuple[Any, ...]) -> list[Any]:
    hook, colon, rest = name.partition(":")
    wanted = rest if colon else name
    found = [offer for offer in offers if wanted in (offer.name, offer.qualified) and (not colon or offer.hook == hook)]
    if not found:
        names = sorted({offer.name for offer in offers})
        raise PluginError(
            f"nothing is called '{name}'{nearest(wanted, names)}", remedy="`cryoframe plugins` lists all."
        )
    return found


def _show(entry: dict[str, Any]) -> None:
    say(f"{entry['hook']} {entry['use']}")
    for result in entry["results"]:
        mark = "✔" if result["passed"] else "✘"
        say(
            f"  {mark} {result['check']} ({result['seconds']:.1f} s)"
            + ("" if result["passed"] else f": {result['message']}")
        )
    n_failed = sum(not result["passed"] for result in entry["results"])
    say(f"  {len(entry['results']) - n_failed} passed, {n_failed} failed")
