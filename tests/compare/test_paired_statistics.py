"""Paired differences find what is there, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from cryoframe.compare.statistics import bootstrap_median, paired
from cryoframe.errors import InvalidInput


def test_a_constant_difference__has_an_interval_of_no_width() -> None:
    found = paired([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    assert (found.n, found.mean_a, found.mean_b) == (3, 2.0, 4.0)
    assert (found.median_difference, found.low, found.high) == (2.0, 2.0, 2.0)


def test_the_interval__covers_the_true_median_as_often_as_it_says() -> None:
    """Of 200 intervals of 95 %, the count that covers is binomial: below 178 has probability 3e-4 even at 93 %."""
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_median(rng.standard_normal(40), seed=trial)
        covered += low <= 0.0 <= high
    assert covered >= 178


def test_a_difference_of_one_standard_deviation_in_30__is_seen_and_none_is_not() -> None:
    rng = np.random.default_rng(6)
    a = rng.standard_normal(30)
    assert paired(a, a + 1.0 + 0.3 * rng.standard_normal(30)).differs
    assert not paired(a, a).differs


def test_few_items__never_differ() -> None:
    assert not paired([1.0] * 5, [2.0] * 5).differs
    assert paired([1.0] * 6, [2.0] * 6).differs


def test_the_same_seed__gives_the_same_interval() -> None:
    values = np.random.default_rng(7).standard_normal(24)
    assert bootstrap_median(values, seed=3) == bootstrap_median(values, seed=3)
    assert len({bootstrap_median(values, seed=seed) for seed in range(20)}) > 1


def test_items_without_a_value__are_left_out() -> None:
    assert paired([1.0, np.nan, 3.0], [2.0, 2.0, np.inf]).n == 1


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([np.nan], [1.0]), ([], [])])
def test_what_cannot_be_paired__is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(InvalidInput):
        paired(a, b)


def test_angles_come_round__the_difference_is_the_shortest_and_the_mean_circular() -> None:
    result = paired([1.0, 2.0], [179.0, 178.0], period=180.0)
    assert result.median_difference == pytest.approx(-3.0)
    assert paired([1.0, 179.0], [1.0, 179.0], period=180.0).mean_a % 180.0 == pytest.approx(0.0, abs=1e-9)
