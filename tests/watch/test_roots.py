"""Rescans turn what is on the disk into one status a file, whatever the order in which it came."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

from cryoframe.errors import EnvironmentFault
from cryoframe.kernel.config import WatchConfig
from cryoframe.records.events import FileIgnored, FileRejected, FileSeen
from cryoframe.records.state import FileRow
from cryoframe.watch.readiness import MAX_REFUSED, VANISHED
from cryoframe.watch.roots import Root
from cryoframe.watch.scanner import AtOnce, Changes, Look, Seen, Tree

CONFIG = WatchConfig(settle_s=20.0, patterns=("*.tif", "*.mrc"))


class Here(AtOnce):
    """A scanner without its process."""

    def __init__(self, root: Path) -> None:
        self.tree, self.fault = Tree(str(root)), ""

    def scan(self) -> Changes:
        said = self._answer({"scan": True})
        changed = {path: Seen(*seen) for path, seen in said["changed"].items()}
        return Changes(said["fresh"], changed, said["gone"], said["n_files"], said["unreadable"])

    def look(self, paths: list[str]) -> dict[str, Look | str]:
        looks = self._answer({"look": paths})["looks"]
        return {path: look if isinstance(look, str) else Look(*look) for path, look in looks.items()}

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if self.fault:
            raise EnvironmentFault(self.fault)
        return self.tree.answer(question)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path, "Movie", CONFIG, [], scanner=Here(tmp_path))  # type: ignore[arg-type]


def said(root: Root, now_s: float = 0.0) -> list[tuple[str, str]]:
    _, news = root.rescan(now_s)
    assert root.is_accounted_for()
    return sorted((cls.__name__, str(payload["path"])) for cls, payload in news)


def test_a_new_file__is_announced_once(root: Root) -> None:
    (root.folder / "a.tif").write_text("1")
    (root.folder / "a.tif.mdoc").write_text("1")
    assert said(root) == [("FileIgnored", "a.tif.mdoc"), ("FileSeen", "a.tif")]
    assert said(root) == []
    (root.folder / "a.tif").write_text("12")
    assert said(root) == [], "a growing file is the same file"


def test_a_file_renamed_from_its_temporary_name__is_known_to_be_whole(root: Root) -> None:
    (root.folder / ".a.tif.Xy12Zz").write_text("whole")
    said(root)
    (root.folder / ".a.tif.Xy12Zz").rename(root.folder / "a.tif")
    assert said(root) == [("FileSeen", "a.tif")]
    assert root.entries["a.tif"].renamed_in
    (root.folder / "b.tif").write_text("in place")
    said(root)
    assert not root.entries["b.tif"].renamed_in


def test_a_file_that_vanishes_undecided__says_so_and_may_come_back(root: Root) -> None:
    (root.folder / "a.tif").write_text("1")
    said(root)
    (root.folder / "a.tif").unlink()
    assert said(root) == [("FileIgnored", "a.tif")]
    assert root.entries["a.tif"].reason == VANISHED
    (root.folder / "a.tif").write_text("1")
    assert said(root) == [("FileSeen", "a.tif")]


def test_a_decided_file_that_is_deleted__stays_as_it_is(root: Root) -> None:
    (root.folder / "a.tif").write_text("1")
    said(root)
    root.entries["a.tif"].status = "admitted"
    (root.folder / "a.tif").unlink()
    assert said(root) == []
    assert root.counts() == {"admitted": 1}


def test_an_outage__changes_no_file(root: Root) -> None:
    (root.folder / "a.tif").write_text("1")
    said(root)
    root.scanner.fault = "hung"  # type: ignore[attr-defined]
    assert root.rescan(1.0) == (False, [])
    assert (root.offline, root.counts()) == ("hung", {"waiting": 1})
    assert root.look(1.0) == []
    root.scanner.fault = ""  # type: ignore[attr-defined]
    assert said(root) == []
    assert root.offline == ""


@pytest.mark.parametrize("status", ["rejected", "incomplete"])
def test_a_refused_file_rewritten_with_size_and_mtime_restored__is_judged_anew(root: Root, status: str) -> None:
    path = root.folder / "a.tif"
    path.write_text("1")
    said(root)
    root.entries["a.tif"].status = status
    facts = path.stat()
    path.write_text("2")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert said(root) == [("FileSeen", "a.tif")]
    assert root.entries["a.tif"].status == "waiting"


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("status", ["admitted", "duplicate"])
def test_an_admitted_file_of_which_the_ctime_alone_changes__is_in_doubt_if_the_ctime_is_to_be_believed(
    root: Root, status: str, trusted: bool
) -> None:
    path = root.folder / "a.tif"
    path.write_text("1")
    said(root)
    root.entries["a.tif"].status, root.doubts.trusted = status, trusted
    path.chmod(0o400)
    assert said(root) == []
    assert ("a.tif" in root.doubts) is trusted
    assert root.entries["a.tif"].status == status, "it is read again before anything is said of it"


@pytest.mark.parametrize("known", [True, False])
def test_a_file_whose_ctime_changed_between_two_sessions__is_in_doubt_if_the_journal_has_the_old_one(
    tmp_path: Path, known: bool
) -> None:
    path = tmp_path / "a.tif"
    path.write_text("1")
    its = path.stat()
    row = FileRow(
        "a.tif", str(tmp_path), 1, its.st_mtime_ns, "d", "settled", "", ctime_ns=its.st_ctime_ns if known else 0
    )
    path.chmod(0o400)
    root = Root(tmp_path, "Movie", CONFIG, [row], scanner=Here(tmp_path))  # type: ignore[arg-type]
    assert said(root) == []
    assert ("a.tif" in root.doubts) is known


def test_a_late_side_car__reopens_what_waited_for_it_and_nothing_else(root: Root) -> None:
    for name in ("a.tif", "b.tif", "c.tif"):
        (root.folder / name).write_text("1")
    said(root)
    root.entries["a.tif"].status = "incomplete"
    root.entries["b.tif"].status = "incomplete"
    root.entries["c.tif"].status, root.entries["c.tif"].bare = "admitted", True
    (root.folder / "a.tif.mdoc").write_text("x")
    (root.folder / "c.mdoc").write_text("x")
    assert said(root) == [
        ("FileIgnored", "a.tif.mdoc"),
        ("FileIgnored", "c.mdoc"),
        ("FileSeen", "a.tif"),
        ("FileSeen", "c.tif"),
    ]
    assert {path: entry.status for path, entry in root.entries.items() if path.endswith("tif")} == {
        "a.tif": "waiting", "b.tif": "incomplete", "c.tif": "superseded",
    }  # fmt: skip


@pytest.mark.parametrize("pattern", ["*.tiff", "*_fractions.tiff", "Images-Disc1/*/Data/FoilHole_*_fractions.tiff"])
def test_a_late_epu_xml__reopens_its_movie_whatever_the_pattern(tmp_path: Path, pattern: str) -> None:
    config = WatchConfig(settle_s=20.0, patterns=(pattern,))
    root = Root(tmp_path, "Movie", config, [], scanner=Here(tmp_path))  # type: ignore[arg-type]
    data = tmp_path / "Images-Disc1/GridSquare_1/Data"
    data.mkdir(parents=True)
    (data / "FoilHole_1_Data_2_fractions.tiff").write_text("1")
    said(root)
    (entry,) = root.entries.values()
    entry.status, entry.bare = "admitted", True
    (data / "FoilHole_1_Data_2.xml").write_text("x")
    assert ("FileSeen", entry.path) in said(root)
    assert entry.status == "superseded"


def test_a_file_that_cannot_be_opened__is_visible_after_the_settling_time(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.folder / "a.tif").write_text("1")
    said(root, 0.0)
    monkeypatch.setattr(root.scanner, "look", lambda paths: dict.fromkeys(paths, "Permission denied"))
    assert root.look(1.0) == []
    assert root.entries["a.tif"].reason == "Permission denied"
    ((cls, payload),) = root.look(21.0)
    assert (cls, payload["kind"], payload["reason"]) == (FileRejected, "Unreadable", "Permission denied")
    (root.folder / "a.tif").chmod(0o600)
    assert said(root) == [("FileSeen", "a.tif")]


def test_a_share_that_fails_while_a_file_is_opened__blames_the_file_only_in_the_end(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.folder / "a.tif").write_text("1")
    said(root, 0.0)
    taken = root.scanner.look
    for error in (errno.EIO, errno.ESTALE, errno.ENOTCONN):
        monkeypatch.setattr(root.scanner, "look", lambda paths, error=error: dict.fromkeys(paths, os.strerror(error)))
        assert root.look(1000.0 * error) == []
        assert root.entries["a.tif"].is_pending
    monkeypatch.setattr(root.scanner, "look", taken)
    assert root.look(1e6) == []
    assert root.entries["a.tif"].look is not None
    monkeypatch.setattr(root.scanner, "look", lambda paths: dict.fromkeys(paths, os.strerror(errno.EIO)))
    n_looks = next(n for n in range(1, 100) if root.look(2e6 + 1000.0 * n))
    assert n_looks == MAX_REFUSED
    assert root.entries["a.tif"].status == "rejected"


def test_any_order_of_arrival__gives_the_same_statuses(tmp_path: Path) -> None:
    names = ["a.tif", "a.tif.mdoc", ".hidden", "b.tif", "b.mdoc", "c.tmp", "deep/d.tif", "e.jpg"]
    results = set()
    for order in range(40):
        folder = tmp_path / str(order)
        (folder / "deep").mkdir(parents=True)
        root = Root(folder, "Movie", CONFIG, [], scanner=Here(folder))  # type: ignore[arg-type]
        shuffled = random.Random(order).sample(names, len(names))
        for count, name in enumerate(shuffled):
            (folder / name).write_text("x")
            if (count + order) % 3 == 0:
                said(root)
        said(root)
        results.add(tuple(sorted((path, entry.status, entry.reason) for path, entry in root.entries.items())))
    assert len(results) == 1


def test_what_is_said__has_the_classes_of_file_events(root: Root) -> None:
    (root.folder / "a.tif").write_text("1")
    (root.folder / "b.jpg").write_text("1")
    _, news = root.rescan(0.0)
    assert {cls for cls, _ in news} == {FileSeen, FileIgnored}
    assert all(payload["root"] == str(root.folder) for _, payload in news)
