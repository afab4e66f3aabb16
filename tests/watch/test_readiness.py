"""A file counts as complete when every layer says so, by the observer's own clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoframe.kernel.config import WatchConfig
from cryoframe.records.state import FileRow
from cryoframe.watch.readiness import QUICK_S, Entry, required_s, rule_against, side_cars
from cryoframe.watch.scanner import Look, Seen

CONFIG = WatchConfig(settle_s=20.0, long_settle_s=300.0)
FILE = Seen("file", 10, 1, 1, 1)


def required(
    path: str = "a.mrc", kind: str = "Movie", *, expected: bool = False, confirmed: bool = False, **facts: bool
) -> float:
    look = Look(1, 1, 1, facts.get("hole", False), facts.get("blank", False))
    entry = Entry(path, renamed_in=facts.get("renamed_in", False), look=look)
    return required_s(CONFIG, entry, kind, expected=expected, confirmed=confirmed)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("a.mrc", ""), ("sub/b.mrc", ""), ("A.MRC", ""), (".a.mrc", "hidden"), (".a.mrc.Xy12Zz", "hidden"),
        (".sync/a.mrc", "hidden"), ("a.mrc.part", "temporary name (*.part)"), ("a.tmp", "temporary name (*.tmp)"),
        ("a.mrc~", "temporary name (*~)"), ("a.mrc.downloading", "temporary name (*downloading)"),
        ("a.tif.mdoc", "a side-car"), ("a.xml", "a side-car"), ("a.jpg", "matches no pattern"),
    ],
)  # fmt: skip
def test_names__are_judged_by_rule(path: str, rule: str) -> None:
    assert rule_against(path, FILE, ("*.mrc",)) == rule


def test_a_pattern_with_a_folder__is_matched_against_the_whole_path() -> None:
    assert rule_against("grid1/a.mrc", FILE, ("grid1/*.mrc",)) == ""
    assert rule_against("grid2/a.mrc", FILE, ("grid1/*.mrc",)) == "matches no pattern"


@pytest.mark.parametrize(("kind", "rule"), [("link", "a symbolic link"), ("other", "not a regular file")])
def test_what_is_no_file__is_ignored(kind: str, rule: str) -> None:
    assert rule_against("a.mrc", FILE._replace(kind=kind), ("*",)) == rule


def test_settling_times__follow_what_can_be_proved() -> None:
    assert required("a.mrc") == 20.0
    assert required("a.tif") == 300.0
    assert required("a.eer") == 300.0
    assert required("a.tif", expected=True) == 20.0
    assert required("a.tif", expected=True, confirmed=True) == QUICK_S
    assert required("a.tif", renamed_in=True) == QUICK_S
    assert required("a.png", kind="Micrograph") == 20.0
    assert required("a.mrc", hole=True, renamed_in=True) == 300.0
    assert required("a.mrc", blank=True) == 300.0
    assert required("a.png", kind="Micrograph", blank=True) == 300.0
    assert required("a.mrc", blank=True, renamed_in=True) == QUICK_S
    assert required("a.mrc", blank=True, confirmed=True) == QUICK_S


def test_two_looks__are_the_least() -> None:
    entry = Entry("a.mrc")
    entry.observe(Look(10, 1, 1, False), 0.0)
    assert entry.remaining_s(0.0, 1e9) > 0
    entry.observe(Look(10, 1, 1, False), 1.0)
    assert entry.remaining_s(0.0, 1.0) <= 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0.01, 40.0)), min_size=1, max_size=30))
def test_a_file__is_never_ready_before_it_stood_still_for_the_settling_time(
    steps: list[tuple[int, int, float]],
) -> None:
    entry, now_s, history = Entry("a.mrc"), 0.0, []
    size = mtime = 0
    for grown, touched, pause_s in steps:
        size, mtime = size + grown, mtime + touched
        entry.observe(Look(size, mtime, 0, False), now_s)
        history.append((now_s, size, mtime))
        if entry.remaining_s(20.0, now_s) <= 0:
            same = [time_s for time_s, *look in history if look == [size, mtime]]
            assert len(same) >= 2
            assert now_s - same[0] >= 20.0
        now_s += pause_s


@pytest.mark.parametrize(
    ("row_status", "reason", "status"),
    [
        ("seen", "", "waiting"), ("settled", "", "admitted"), ("duplicate", "b", "duplicate"),
        ("ignored", "r", "ignored"), ("superseded", "", "waiting"), ("rejected", "Corrupt: x", "rejected"),
        ("rejected", "Incomplete: x", "incomplete"),
    ],
)  # fmt: skip
def test_an_entry__is_taken_up_where_the_journal_left_it(row_status: str, reason: str, status: str) -> None:
    assert Entry.of(FileRow("a", "/r", 1, 2, "", row_status, reason)).status == status


def test_a_rewriting_that_restores_size_and_mtime__shows_in_the_ctime() -> None:
    entry = Entry("a")
    entry.note(Seen("file", 10, 5, 7, 1))
    assert entry.is_as(Seen("file", 10, 5, 7, 1))
    assert not entry.is_as(Seen("file", 10, 5, 8, 1))


def test_side_cars__lie_beside_their_file() -> None:
    assert list(side_cars("d/a.tif")) == ["d/a.tif.mdoc", "d/a.mdoc", "d/a.xml"]


@pytest.mark.parametrize("name", ["a_fractions.tiff", "a_Fractions.mrc", "a_EER.eer"])
def test_the_xml_of_an_epu_exposure__has_its_movies_name_without_the_ending(name: str) -> None:
    assert "d/a.xml" in list(side_cars(f"d/{name}"))
