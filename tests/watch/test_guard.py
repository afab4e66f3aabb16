"""Below the mark nothing new begins, and the reserve is there when it is needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cryoframe.watch.guard import GB, RESERVE, DiskGuard


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    usage = SimpleNamespace(total=1000 * GB, used=0, free=500 * GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    return usage


def test_the_mark__is_ten_GB_or_five_percent(tmp_path: Path, disk: SimpleNamespace) -> None:
    assert DiskGuard(tmp_path).low_bytes == 10 * GB
    disk.total = 20 * GB
    assert DiskGuard(tmp_path).low_bytes == GB


def test_the_reserve__is_made_given_up_and_made_again(tmp_path: Path, disk: SimpleNamespace) -> None:
    guard = DiskGuard(tmp_path, reserve_bytes=1 << 20)
    assert guard.check() == ""
    assert (tmp_path / RESERVE).stat().st_size == 1 << 20
    disk.free = 9 * GB
    assert "only 9.00 GB are free" in guard.check()
    assert not (tmp_path / RESERVE).exists()
    disk.free = 11 * GB
    assert guard.check() != "", "a little more room must not make it flutter"
    disk.free = 13 * GB
    assert guard.check() == ""
    assert (tmp_path / RESERVE).exists()


def test_the_runner_and_the_guard__share_one_rule_of_when_a_disk_is_short() -> None:
    from cryoframe.execution import room
    from cryoframe.watch import guard

    # The runner asks `room` whether work has to wait.
    assert room.is_short is guard.is_short  # type: ignore[attr-defined]
    assert [room.is_short(free, 10, was_short=before) for free, before in ((9, False), (11, True))] == [True, True]
    assert [room.is_short(free, 10, was_short=before) for free, before in ((11, False), (13, True))] == [False, False]
