"""The scanner sees what is there, byte for byte, and an outage is not a deletion."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from cryoframe.errors import EnvironmentFault
from cryoframe.watch import scanner as scanner_module
from cryoframe.watch.child import Child
from cryoframe.watch.scanner import Look, Scanner, Tree

HOSTILE = [
    b"new\nline.mrc", b"-rf.mrc", b"; rm -r x.mrc", b"$(id).mrc", b"%s%n.mrc", b"caf\xe9.mrc", b"\xff\xfe.mrc",
    "كتاب.mrc".encode(), b"a.MRC", b"A.mrc", b" .mrc", b"x" * 251 + b".mrc", b'"quoted".mrc', b"\\back.mrc",
]  # fmt: skip


def test_a_scan__tells_differences_only_after_the_first(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "a").write_text("1")
    scanner = Scanner(tmp_path)
    first = scanner.scan()
    assert (first.fresh, list(first.changed), first.n_files) == (True, ["sub/deep/a"], 1)
    second = scanner.scan()
    assert (second.fresh, dict(second.changed), list(second.gone), second.n_files) == (False, {}, [], 1)
    (tmp_path / "b").write_text("22")
    (tmp_path / "sub" / "deep" / "a").unlink()
    third = scanner.scan()
    assert ({path: seen.size for path, seen in third.changed.items()}, list(third.gone)) == ({"b": 2}, ["sub/deep/a"])
    scanner.close()


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names__are_seen_and_opened_byte_for_byte(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"12345")
    scanner = Scanner(tmp_path)
    (path,) = scanner.scan().changed
    assert os.fsencode(path) == name
    look = scanner.look([path])[path]
    assert isinstance(look, Look)
    assert look.size == 5
    scanner.close()


@pytest.mark.parametrize(("content", "is_blank"), [(b"", False), (b"1", False), (bytes(9), True), (b"1" * 5000, False)])
def test_a_file_that_ends_in_zeros__may_not_be_written_to_its_end(
    tmp_path: Path, content: bytes, is_blank: bool
) -> None:
    for name, end, blank in (("a", b"", is_blank), ("b", bytes(40), True), ("c", bytes(40) + b"1", False)):
        (tmp_path / name).write_bytes(content + end)
        found = Tree(str(tmp_path)).answer({"look": [name]})["looks"][name]
        assert Look(*found).blank is blank
        assert not Look(*found).hole


def test_a_missing_root__is_an_outage(tmp_path: Path) -> None:
    root = tmp_path / "share"
    root.mkdir()
    (root / "a").write_text("1")
    scanner = Scanner(root)
    scanner.scan()
    root.rename(tmp_path / "away")
    with pytest.raises(EnvironmentFault, match="No such file"):
        scanner.scan()
    (tmp_path / "away").rename(root)
    back = scanner.scan()
    assert (list(back.changed), list(back.gone)) == ([], [])
    scanner.close()


def test_an_empty_mount_point__is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    tree = Tree(str(tmp_path))
    tree.answer({"scan": True})
    tree._device = -1
    (tmp_path / "a").unlink()
    assert "unmounted" in tree.answer({"scan": True})["error"]


def test_a_folder_that_cannot_be_listed__keeps_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_text("1")
    tree = Tree(str(tmp_path))
    tree.answer({"scan": True})
    scandir = os.scandir

    def stale(path: str) -> object:
        if path.endswith("sub"):
            raise OSError(116, "Stale file handle")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", stale)
    said = tree.answer({"scan": True})
    assert (said["gone"], said["n_files"], said["unreadable"]) == ([], 1, ["sub"])


def test_links_and_fifos__are_told_apart_and_never_followed_or_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    scanner = Scanner(tmp_path)
    kinds = {path: seen.kind for path, seen in scanner.scan().changed.items()}
    assert kinds == {"a": "file", "link": "link", "loop": "link", "fifo": "other"}
    assert scanner.look(["link"])["link"] == "Too many levels of symbolic links"
    scanner.close()


def test_a_file_reserved_but_not_written__shows_a_hole(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"x" * 8192)
        file.truncate(1 << 20)
    (tmp_path / "full").write_bytes(b"x" * (1 << 20))
    looks = Tree(str(tmp_path)).answer({"look": ["sparse", "full"]})["looks"]
    assert [looks["sparse"][3], looks["full"][3]] == [True, False]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_file_that_may_not_be_read__says_why(tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    (tmp_path / "secret").write_text("1")
    (tmp_path / "secret").chmod(0)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        os.write(writer, str(Tree(str(tmp_path)).answer({"look": ["secret"]})["looks"]["secret"]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"Permission denied"
    os.close(reader)


def test_a_helper_that_is_killed__is_started_anew_and_tells_everything(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    scanner = Scanner(tmp_path)
    scanner.scan()
    process = scanner._child._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(EnvironmentFault, match="died"):
        scanner.scan()
    again = scanner.scan()
    assert again.fresh
    assert list(again.changed) == ["a"]
    scanner.close()


def test_a_helper_that_hangs__is_abandoned_at_the_deadline(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path, deadline_s=0.4)
    scanner._child._deadline_s = 10.0
    scanner.scan()
    scanner._child._deadline_s = 0.4
    process = scanner._child._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(EnvironmentFault, match="no answer"):
        scanner.scan()
    assert time.monotonic() - start < 3.0
    scanner._child._deadline_s = 10.0
    assert scanner.scan().fresh
    scanner.close()


def test_the_helper__ends_when_the_asking_side_is_gone(tmp_path: Path) -> None:
    child = Child("cryoframe.watch.scanner", str(tmp_path), deadline_s=10.0)
    child.ask({"scan": True})
    process = child._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10.0) == 0
    child.close()


def test_very_many_files__are_told_by_pages_and_what_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner_module, "PAGE", 3)
    for number in range(7):
        (tmp_path / f"{number}").write_text("1")
    tree = Tree(str(tmp_path))
    said = [tree.answer({"scan": True}), tree.answer({"rest": True}), tree.answer({"rest": True})]
    assert [len(page["changed"]) for page in said] == [3, 3, 1]
    assert ([page["more"] for page in said], [page["fresh"] for page in said]) == ([True, True, False], [True] * 3)
    assert sorted(path for page in said for path in page["changed"]) == [f"{number}" for number in range(7)]
    for number in range(4):
        (tmp_path / f"{number}").rename(tmp_path / f"new{number}")
    said = [tree.answer({"scan": True}), tree.answer({"rest": True})]
    assert [len(page["changed"]) for page in said] == [3, 1]
    assert (said[0]["gone"], sorted(said[1]["gone"])) == ([], ["0", "1", "2", "3"])


def test_where_asking_each_file_takes_long__names_alone_tell_what_is_new_replaced_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kept", "grown", "replaced", "gone"):
        (tmp_path / name).write_text("1")
    tree = Tree(str(tmp_path))
    assert len(tree.answer({"scan": True})["changed"]) == 4
    monkeypatch.setattr(tree, "_full_at_s", float("inf"))
    (tmp_path / "grown").write_text("22")
    (tmp_path / "another").write_text("333")
    (tmp_path / "another").replace(tmp_path / "replaced")
    (tmp_path / "gone").unlink()
    (tmp_path / "new").write_text("4444")
    said = tree.answer({"scan": True})
    assert {path: seen.size for path, seen in said["changed"].items()} == {"replaced": 3, "new": 4}
    assert (said["gone"], said["n_files"]) == (["gone"], 4)
    monkeypatch.setattr(tree, "_full_at_s", 0.0)
    said = tree.answer({"scan": True})
    assert {path: seen.size for path, seen in said["changed"].items()} == {"grown": 2}


def test_only_reading__is_done_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"x" * 100)
    before = [(p, p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in sorted(tmp_path.rglob("*"))]
    scanner = Scanner(tmp_path)
    for _ in range(3):
        scanner.scan()
        scanner.look(["sub/a"])
    scanner.close()
    assert [(p, p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in sorted(tmp_path.rglob("*"))] == before
