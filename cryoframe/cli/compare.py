"""``cryoframe compare``: one stage, several implementations, the same files: agreement, seconds, failures."""

from __future__ import annotations

import argparse
import tempfile
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.cli.output import complain, emit, json_flag, say
from cryoframe.errors import ConfigError

if TYPE_CHECKING:
    from cryoframe.compare.bench import Attempted


#: Angles come round: an astigmatism axis after half a turn (CONVENTIONS C13), directions after a whole one.
PERIODS = {"defocus_angle_deg": 180.0, "rot_deg": 360.0, "psi_deg": 360.0}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from cryoframe.cli.stage import input_flags

    parser.add_argument("hook", metavar="HOOK", help="the stage")
    parser.add_argument("names", metavar="NAME", nargs="+", help="two or more implementations")
    parser.add_argument(
        "--on", dest="files", metavar="FILE", nargs="+", required=True, help="inputs, as for `cryoframe stage`"
    )
    input_flags(parser)
    parser.add_argument(
        "--truth", type=Path, metavar="DIR", help="hold answers against the truth of a simulated session as well"
    )
    parser.add_argument(
        "--consensus",
        type=Path,
        metavar="FILE.star",
        help="write the picks on which more than half of the pickers agree",
    )
    json_flag(parser)


def run(options: argparse.Namespace) -> int:
    """Compare; 1 when a call failed. A parameter for one implementation alone is written --set NAME:KEY=VALUE."""
    from cryoframe.cli.stage import collection
    from cryoframe.compare.bench import numbers

    if len(set(options.names)) != len(options.names) or len(options.names) < 2:
        raise ConfigError(f"{len(set(options.names))} implementation(s) named", expected="two or more different ones")
    plugins = collection(options)
    offers = [plugins.select(options.hook, name) for name in options.names]
    with tempfile.TemporaryDirectory(prefix="cryoframe-compare-") as made:
        answers = _answers(options, offers, plugins, Path(made))
        table = {name: [numbers(answer) for answer in found] for name, found in answers.items()}
        errors = _errors(answers, options.truth) if options.truth else {}
        consensus = _consensus(answers, options) if options.consensus else []
    facts = {"hook": options.hook, "cost": [_cost(name, found) for name, found in answers.items()]}
    facts["agreement"] = [row for a, b in combinations(answers, 2) for row in _agreement(a, b, table, options.seed)]
    if options.truth:
        facts["to_truth"] = [row for a, b in combinations(answers, 2) for row in _agreement(a, b, errors, options.seed)]
    if options.consensus:
        facts["consensus"] = consensus
    failed = [answer for found in answers.values() for answer in found if answer.message]
    facts["failures"] = [f"{answer.offer.qualified} {answer.item_id}: {answer.message}" for answer in failed]
    if options.json:
        emit(facts)
    else:
        _show(facts)
    return int(bool(failed))


def _answers(options: argparse.Namespace, offers: list[Any], plugins: Any, scratch: Path) -> dict[str, list[Attempted]]:
    from cryoframe.cli.stage import arguments_of, bench_setting, given, settings, tell_assumed
    from cryoframe.compare.bench import attempt
    from cryoframe.compare.inputs import bind

    for name in ("inputs", "calls"):
        (scratch / name).mkdir()
    own, shared = _split(options.set, options.names)
    params, optics = settings(shared)
    tell_assumed(options.hook, optics)
    asked = arguments_of([plugins.load(offer) for offer in offers])
    items = bind(options.hook, options.files, given(options, optics), scratch / "inputs", asked=asked)
    found = {}
    for name, offer in zip(options.names, offers, strict=True):
        setting = bench_setting(options, params | settings(own[name])[0], isolate=True)
        found[name] = attempt(offer, items, plugins, setting=setting, scratch=scratch / "calls")
    return found


def _errors(answers: dict[str, list[Attempted]], folder: Path) -> dict[str, list[dict[str, float]]]:
    """Return the errors of every answer against the truth of the exposure it is about."""
    from cryoframe.compare.truth import Truth
    from cryoframe.compare.truth_table import product_errors

    truth = Truth.open(folder)
    known = [answer for found in answers.values() for answer in found if truth.exposure_of(answer.item_id)]
    if not known and not any(answer.item_id == "set" for found in answers.values() for answer in found):
        raise ConfigError(
            f"none of the files is of an exposure of {folder}",
            expected="names like " + ", ".join(str(truth.made[name]["movie"]) for name in list(truth)[:2]),
        )
    return {
        name: [product_errors(one.load(), one.item_id, truth) if one.product else {} for one in found]
        for name, found in answers.items()
    }


def _consensus(answers: dict[str, list[Attempted]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Write the picks that the pickers agree on; return who agrees with whom."""
    from cryoframe.cli.stage import settings
    from cryoframe.compare.pick_table import agree
    from cryoframe.data.optics import Optics
    from cryoframe.formats.star_products import table_to_star

    params, optics = settings(_split(options.set, options.names)[1])
    if options.hook != "pick_particles" or not params.get("diameter_A") or not options.pixel_size:
        raise ConfigError(
            "picks cannot be brought together",
            expected="pick_particles, --set diameter_A=NUMBER and --pixel-size NUMBER",
        )
    done = [all(one.product for one in row) for row in zip(*answers.values(), strict=True)]
    tables = {
        name: [one.load() for one, whole in zip(found, done, strict=True) if whole] for name, found in answers.items()
    }
    if not any(done):
        raise ConfigError(
            "there is no micrograph that all pickers finished", remedy="Look at the failures alone first."
        )
    table, rows = agree(tables, diameter_A=float(params["diameter_A"]))
    groups = [Optics(**optics)]
    table_to_star(
        options.consensus, table, groups, pixel_size_A=options.pixel_size, micrograph_pixel_size_A=options.pixel_size
    )
    if not options.json:
        say(f"{len(table)} picks of more than half of the pickers are in {options.consensus}")
    return rows


def _split(pairs: list[str], names: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the settings of each implementation alone, and those of all."""
    own: dict[str, list[str]] = {name: [] for name in names}
    shared = []
    for pair in pairs:
        name, colon, rest = pair.partition(":")
        if colon and name in own:
            own[name].append(rest)
        else:
            shared.append(pair)
    return own, shared


def _cost(name: str, answers: list[Attempted]) -> dict[str, Any]:
    done = [answer for answer in answers if not answer.message]
    seconds = sorted(answer.seconds for answer in done)
    return {
        "use": name,
        "items": len(answers),
        "failed": len(answers) - len(done),
        "median_s": seconds[len(seconds) // 2] if seconds else None,
        "cpu_s": sum(answer.cpu_s for answer in done),
        "peak_MB": max((answer.peak_MB for answer in done), default=None),
    }


def _agreement(a: str, b: str, table: dict[str, list[dict[str, float]]], seed: int) -> list[dict[str, Any]]:
    from cryoframe.compare.statistics import paired

    names = dict.fromkeys(name for rows in (*table[a], *table[b]) for name in rows)
    found = []
    for name in names:
        pairs = [(x[name], y[name]) for x, y in zip(table[a], table[b], strict=True) if name in x and name in y]
        if not pairs:
            continue
        first, second = zip(*pairs, strict=True)
        result = paired(first, second, seed=seed, period=PERIODS.get(name, 0.0))
        row = {"a": a, "b": b, "quantity": name, "n": result.n, "mean_a": result.mean_a, "mean_b": result.mean_b}
        low, high = (result.low, result.high) if result.n > 1 else (None, None)  # one item says nothing of a spread
        found.append(row | {"b_minus_a": result.median_difference, "low": low, "high": high})
    return found


def _show(facts: dict[str, Any]) -> None:
    from cryoframe.view.tables import show

    cost, agreement = facts["cost"], facts["agreement"]
    show(list(cost[0]), [list(row.values()) for row in cost], title=facts["hook"])
    if agreement:
        say()
        title = "paired by item; b_minus_a is the median difference, low to high its 95 % bootstrap interval"
        show(list(agreement[0]), [list(row.values()) for row in agreement], title=title)
    if consensus := facts.get("consensus"):
        say()
        show(list(consensus[0]), [list(row.values()) for row in consensus], title="picks in common")
    if to_truth := facts.get("to_truth"):
        say()
        title = "errors to the truth, paired by item; less is better but for precision, recall and f1"
        show(list(to_truth[0]), [list(row.values()) for row in to_truth], title=title)
    for line in facts["failures"]:
        complain(line)
