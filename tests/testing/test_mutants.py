"""Each mutant plugin has one fault, and the check it names catches it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from cryoframe.kernel.discovery import Offer, local_offers
from cryoframe.testing import Limits, run_checks

MUTANTS = sorted((Path(__file__).parent / "mutants").glob("*.py"))
#: Faults of time are made small, so that the tests are quick; a mutant may ask for other limits.
LIMITS = {"cancel_s": 0.3, "silent_s": 0.3}
Figure = Callable[[str, object], None]


def constant(path: Path, name: str, default: object = None) -> object:
    """A constant of a module that must not be imported for it: importing some mutants is their fault."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    return default


def the_offer(path: Path) -> Offer:
    (offer,) = local_offers([path])
    return offer


def test_there_are_at_least_forty_mutants__of_at_least_thirty_kinds(figure: Figure) -> None:
    kinds = {constant(path, "CAUGHT_BY") for path in MUTANTS}
    figure("mutant plugins", len(MUTANTS))
    figure("checks that catch at least one mutant", len(kinds))
    assert len(MUTANTS) >= 40
    assert len(kinds) >= 30


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_a_mutant__is_caught_by_the_check_it_names(path: Path) -> None:
    offer, check = the_offer(path), str(constant(path, "CAUGHT_BY"))
    limits = Limits(**{**LIMITS, **dict(constant(path, "LIMITS", {}))})  # type: ignore[call-overload]
    results = run_checks(offer.hook, path.stem, offers=[offer], limits=limits, only=[check])
    failed = {result.check: result.message for result in results if not result.passed}
    assert list(failed) == [check], failed or "not caught"
    assert len(failed[check]) > 15, "the message says nothing"
