"""What cannot be listed is said, and no watermark claims that all below it is known (simulator, seeds 6 and 8)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cryoframe.kernel.config import WatchConfig
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.state import FileRow, State
from cryoframe.watch.accounts import Watermarks
from cryoframe.watch.alarms import Board, Situation
from cryoframe.watch.roots import Root
from cryoframe.watch.scanner import AtOnce, Changes, Seen

SEEN = {"a.tif": Seen("file", 1, 2, 3, 4)}


class Told(AtOnce):
    """A scanner that sees what it is told."""

    def __init__(self) -> None:
        self.seen, self.unreadable = dict(SEEN), list[str]()

    def scan(self) -> Changes:
        return Changes(True, self.seen, [], len(self.seen), self.unreadable)


@pytest.fixture
def marks(tmp_path: Path) -> tuple[Watermarks, State]:
    database = Database.open(tmp_path / "state.sqlite")
    bus, state = Bus(Journal(database), "r"), State(database)
    return Watermarks(bus, state), state


@pytest.mark.parametrize(
    ("folder", "is_said"), [("grid 1", True), ("lost+found", False), ("a/.Trash-0", False), ("a/b", True)]
)
def test_a_folder_that_cannot_be_listed__is_said_and_holds_the_watermark_back(
    tmp_path: Path, marks: tuple[Watermarks, State], folder: str, is_said: bool
) -> None:
    told = Told()
    root = Root(tmp_path, "Movie", WatchConfig(), [], scanner=told)  # type: ignore[arg-type]
    told.unreadable = [folder]
    root.rescan(1.0)
    marks[0].note([root], "then", 1.0)
    assert (folder in root.unlisted, not marks[1].watermarks()) == (is_said, is_said)
    told.unreadable = []
    root.rescan(2.0)
    marks[0].note([root], "now", 200.0)
    assert (root.unlisted, [mark.up_to_utc for mark in marks[1].watermarks()]) == ("", ["now"])


def test_a_root_that_is_empty_where_files_were__holds_the_watermark_back(
    tmp_path: Path, marks: tuple[Watermarks, State]
) -> None:
    told = Told()
    rows = [FileRow("a.tif", str(tmp_path), 1, 2, "", "seen", "")]
    root = Root(tmp_path, "Movie", WatchConfig(), rows, scanner=told)  # type: ignore[arg-type]
    told.seen = {}
    root.rescan(1.0)
    marks[0].note([root], "then", 1.0)
    assert (root.is_bare, marks[1].watermarks()) == (True, [])
    told.seen = dict(SEEN)
    root.rescan(2.0)
    marks[0].note([root], "now", 2.0)
    assert [mark.up_to_utc for mark in marks[1].watermarks()] == ["now"]
    assert root.counts() == Counter({"waiting": 1})


def test_an_alarm_that_a_full_disk_refused__is_said_at_the_next_look() -> None:
    board = Board(WatchConfig(), [("share", "/a")], 0.0)
    full = Situation(disk="full")
    changes = board.update(full, 1.0)
    assert [(begins, name) for begins, name, _ in changes] == [(True, ("disk", "")), (False, ("share", "/a"))]
    board.take_back(changes[1:])
    assert [(begins, name) for begins, name, _ in board.update(full, 2.0)] == [(False, ("share", "/a"))]
    board.take_back([(True, ("disk", ""), "full")])
    assert [(begins, name) for begins, name, _ in board.update(full, 3.0)] == [(True, ("disk", ""))]
