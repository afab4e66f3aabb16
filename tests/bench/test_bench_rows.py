"""Rows of a benchmark's table: what is summarised, which way a ratio turns, and what a failure looks like."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cryoframe.bench.rows import COLUMNS, Row, Summary, failure, markdown
from cryoframe.bench.sizes import PARTS, parts_named, sizes_named
from cryoframe.errors import ConfigError


def test_a_summary__is_the_median_and_the_range_of_what_is_finite() -> None:
    assert Summary.of([3.0, 1.0, 2.0, math.nan]) == Summary(2.0, 1.0, 3.0, 3)
    assert str(Summary.of([2.0])) == "2"
    assert str(Summary.of([1.5, 2.5])) == "2 (1.5–2.5)"
    assert str(Summary.of([])) == "none"


def test_a_ratio__says_how_many_times_better_here_is() -> None:
    cost = Row("motion", "w", "CPU s", (Summary.of([2.0]),), (Summary.of([8.0]),))
    assert cost.ratio == pytest.approx(4.0)
    rate = Row("extraction", "w", "rate", (Summary.of([8.0]),), (Summary.of([2.0]),), larger_is_better=True)
    assert rate.ratio == pytest.approx(4.0)
    axes = tuple(Summary.of([v]) for v in (0.3, 0.4))
    assert Row("motion", "w", "RMS", axes, tuple(Summary.of([v]) for v in (0.6, 0.8))).ratio == pytest.approx(2.0)
    assert Row("motion", "w", "RMS", axes).ratio is None


def test_missed_aims_and_failures__are_written_in_capitals() -> None:
    missed = Row("ctf", "w", "error", (Summary.of([2.0]),), aim="≤ 1", met=False)
    (failed,) = failure("ctf", "w", "1 of 2 calls, e.g. m: no | reader")
    text = markdown([missed, failed], {"machine": "m"}, title="T")
    assert "≤ 1 MISSED" in text
    assert "FAILED: 1 of 2 calls, e.g. m: no \\| reader" in text
    assert failure("ctf", "w", "") == []
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {len(COLUMNS) + 1}


def test_a_row__is_plain_values_in_json() -> None:
    row = Row("motion", "w", "RMS", (Summary.of([0.3]),), (Summary.of([0.6]),), "peer", aim="≤ 1", met=True)
    facts = json.loads(json.dumps(row.facts(), allow_nan=False))
    assert json.dumps(Row("ctf", "w", "error", (Summary.of([]),)).facts(), allow_nan=False)
    assert facts["ratio"] == pytest.approx(2.0)
    assert facts["here"][0] == {"median": 0.3, "low": 0.3, "high": 0.3, "n": 1}


def test_parts_and_sizes__are_named_or_refused() -> None:
    assert parts_named("") == PARTS
    assert parts_named("picking, motion") == ("motion", "picking")
    with pytest.raises(ConfigError, match="motoin"):
        parts_named("motoin")
    with pytest.raises(ConfigError, match="huge"):
        sizes_named("huge")
    needs = [sizes_named(name).memory_MB(("motion",)) for name in ("quick", "default", "full")]
    assert needs == sorted(set(needs))
    assert sizes_named("full").memory_MB(("ctf",)) < needs[0]
    assert np.isfinite(sizes_named("full").disk_MB)
