"""Names found in other people's files: what is resolved, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cryoframe.errors import Incomplete, Refused
from cryoframe.formats.paths import open_regular, resolve_beneath, split_image_name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "Extract").mkdir(parents=True)
    (root / "Extract" / "a.mrcs").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    return root


def test_names_beneath_the_root__are_resolved(root: Path) -> None:
    wanted = root / "Extract" / "a.mrcs"
    for text in ("Extract/a.mrcs", "./Extract/../Extract/a.mrcs", str(wanted)):
        assert resolve_beneath(root, text) == wanted


@pytest.mark.parametrize("text", ["../secret", "Extract/../../secret", "/etc/passwd", "", "a\0b", "/dev/zero"])
def test_names_that_lead_elsewhere__are_refused(root: Path, text: str) -> None:
    with pytest.raises(Refused):
        resolve_beneath(root, text)


def test_symbolic_links__that_leave_the_root_are_refused_unless_listed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "facility").mkdir()
    (tmp_path / "facility" / "b.mrcs").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "facility")
    (root / "chain").symlink_to(root / "link")
    for text in ("link/b.mrcs", "chain/b.mrcs"):
        with pytest.raises(Refused, match="leads to"):
            resolve_beneath(root, text)
        assert resolve_beneath(root, text, allow=[tmp_path / "facility"]).name == "b.mrcs"
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises((Refused, Incomplete)):
        resolve_beneath(root, "loop")


def test_pipes_and_folders__are_refused_and_never_opened_blocking(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for text in ("pipe", "Extract"):
        with pytest.raises(Refused, match="not a regular file"):
            resolve_beneath(root, text)
        with pytest.raises(Refused):
            open_regular(root / text)


def test_a_file_that_is_not_there__is_incomplete(root: Path) -> None:
    with pytest.raises(Incomplete):
        resolve_beneath(root, "later.mrcs")
    assert resolve_beneath(root, "later.mrcs", must_exist=False) == root / "later.mrcs"
    with pytest.raises(Incomplete):
        open_regular(root / "later.mrcs")
    with pytest.raises(Refused):
        open_regular("x" * 5000)


def test_image_names__count_from_one_outside_and_from_zero_inside() -> None:
    assert split_image_name("000001@a/b.mrcs") == (0, "a/b.mrcs")
    assert split_image_name("17@a@b.mrcs") == (16, "a@b.mrcs")
    assert split_image_name("plain.mrc") == (None, "plain.mrc")


@pytest.mark.parametrize("text", ["0@a.mrcs", "-1@a.mrcs", "1@1@x", "@a.mrcs", "1@", "x@a.mrcs", "²@a", "1@@a"])
def test_image_names__without_a_positive_number_or_nested_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        split_image_name(text)
