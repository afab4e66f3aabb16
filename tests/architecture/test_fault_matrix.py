"""Each fault of the matrix is in the list once, with tests that exist, or with a reason why nothing injects it."""

from __future__ import annotations

from collections.abc import Callable

import fault_matrix
import pytest


def test_every_fault__has_its_row_and_every_test_that_is_named_exists() -> None:
    assert list(fault_matrix.problems()) == []


def test_the_table__has_a_line_for_each_fault_and_a_bound_beside_each_zero(
    figure: Callable[[str, object], None],
) -> None:
    lines = list(fault_matrix.table())[2:]
    assert len(lines) == len(fault_matrix.ROWS) == 94
    uncovered = [line for line in lines if "| not covered |" in line]
    for line in lines:
        trials, said = (cell.strip() for cell in line.split("|")[3:5])
        assert line in uncovered or "0 (≤" in said or not trials
    figure("faults of the matrix; not covered", f"{len(lines)}; {len(uncovered)}")


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("tests/watch/test_nowhere.py::test_x", "there is no tests/watch/test_nowhere.py"),
        ("tests/architecture/test_fault_matrix.py::test_gone", "has no test_gone"),
        ("tests/architecture/test_fault_matrix.py::test_a_test_that_is_not_there__is_noticed", ""),
    ],
)
def test_a_test_that_is_not_there__is_noticed(test: str, said: str) -> None:
    found = fault_matrix._absent(test)
    assert found.endswith(said) if said else not found
