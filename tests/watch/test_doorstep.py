"""A movie is whole when it has the frames it should have; a side-car is waited for as long as was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryoframe.errors import Corrupt, EnvironmentFault, Incomplete
from cryoframe.kernel.config import WatchConfig
from cryoframe.watch.doorstep import Doorstep
from cryoframe.watch.readiness import Entry
from cryoframe.watch.roots import Root
from cryoframe.watch.scanner import Look


class Inspector:
    def __init__(self) -> None:
        self.frames: dict[str, int] = {}
        self.said: dict[str, dict[str, Any]] = {}
        self.n_read = 0

    def n_frames(self, path: Path) -> int:
        return self.frames[path.name]

    def metadata(self, path: Path) -> dict[str, Any]:
        self.n_read += 1
        if path.name not in self.said:
            raise Corrupt("cut short", path=path)
        return self.said[path.name]


@pytest.fixture
def inspector() -> Inspector:
    return Inspector()


def make(inspector: Inspector, tmp_path: Path, n_frames: int | None = None, **config: Any) -> tuple[Doorstep, Root]:
    settings = WatchConfig(settle_s=20.0, long_settle_s=300.0, poll_s=5.0, **config)
    return Doorstep(settings, n_frames, inspector), Root(tmp_path, "Movie", settings, [])


def settled(root: Root, name: str, *, since_s: float = 0.0, first_s: float = 0.0) -> Entry:
    entry = root.entries[name] = Entry(name, "settling", first_s=first_s)
    entry.observe(Look(10, 1, 1, False), since_s)
    entry.observe(Look(10, 1, 1, False), since_s)
    return entry


def beside(root: Root, name: str) -> None:
    root.entries[name] = Entry(name, "ignored", "a side-car", size=5, mtime_ns=1)


def test_fewer_frames_than_the_side_car_counts__are_incomplete(inspector: Inspector, tmp_path: Path) -> None:
    door, root = make(inspector, tmp_path)
    entry = settled(root, "a.tif")
    beside(root, "a.tif.mdoc")
    inspector.said["a.tif.mdoc"], inspector.frames["a.tif"] = {"n_frames": 40}, 39
    assert entry.remaining_s(door.required_s(root, entry), 2.0) <= 0, "the side-car is written after the last frame"
    with pytest.raises(Incomplete, match="39 of 40 frames"):
        door.facts(root, entry, 2.0)
    inspector.frames["a.tif"] = 40
    assert door.facts(root, entry, 2.0) == {}


def test_fewer_frames_than_configured__are_incomplete_even_after_the_long_time(
    inspector: Inspector, tmp_path: Path
) -> None:
    door, root = make(inspector, tmp_path, 40)
    entry = settled(root, "a.tif")
    inspector.frames["a.tif"] = 39
    assert entry.remaining_s(door.required_s(root, entry), 19.0) > 0
    assert entry.remaining_s(door.required_s(root, entry), 20.0) <= 0
    with pytest.raises(Incomplete):
        door.facts(root, entry, 1e6)


def test_a_movie_nobody_counts__stands_still_for_the_long_time_and_sets_the_habit(
    inspector: Inspector, tmp_path: Path
) -> None:
    door, root = make(inspector, tmp_path)
    first, short = settled(root, "a.tif"), settled(root, "b.tif")
    inspector.frames |= {"a.tif": 40, "b.tif": 30}
    assert first.remaining_s(door.required_s(root, first), 299.0) > 0
    assert first.remaining_s(door.required_s(root, first), 300.0) <= 0
    assert door.facts(root, first, 300.0) == {}
    assert door.session_n_frames == 40
    late = settled(root, "c.tif", since_s=300.0)
    inspector.frames["c.tif"] = 40
    assert late.remaining_s(door.required_s(root, late), 320.0) <= 0
    assert door.facts(root, late, 320.0) == {}
    short.stable_since_s = 300.0
    with pytest.raises(EnvironmentFault, match="30 frames where the session's movies have 40"):
        door.facts(root, short, 320.0)
    assert door.facts(root, short, 600.0) == {}, "a movie that was stopped early is a movie"


@pytest.mark.parametrize(("metadata", "late_s"), [("optional", 600.0), ("required", 600.0)])
def test_a_side_car__is_waited_for_as_policy_says(
    inspector: Inspector, tmp_path: Path, metadata: str, late_s: float
) -> None:
    door, root = make(inspector, tmp_path, 1, metadata=metadata, metadata_timeout_s=late_s)
    entry = settled(root, "a.tif")
    inspector.frames["a.tif"] = 1
    assert door.facts(root, entry, 100.0) is None
    assert entry.held
    after = door.facts(root, entry, 700.0)
    assert after == ({"metadata_missing": True} if metadata == "optional" else None)
    assert entry.bare is (metadata == "optional")


def test_a_side_car__hands_on_its_facts_and_is_read_once(inspector: Inspector, tmp_path: Path) -> None:
    door, root = make(inspector, tmp_path, 1, metadata="required")
    entry = settled(root, "a.tif")
    beside(root, "a.xml")
    inspector.frames["a.tif"] = 1
    inspector.said["a.xml"] = {
        "source": "epu",
        "pixel_size_A": 0.85,
        "voltage_kV": 300.0,
        "time_utc": "x",
        "n_frames": 1,
    }
    for _ in range(5):
        assert door.facts(root, entry, 1.0) == {"pixel_size_A": 0.85, "voltage_kV": 300.0}
    assert inspector.n_read == 1
    root.entries["a.xml"].mtime_ns += 1
    door.facts(root, entry, 1.0)
    assert inspector.n_read == 2


def test_a_side_car_cut_short__says_nothing_yet(inspector: Inspector, tmp_path: Path) -> None:
    door, root = make(inspector, tmp_path, 1, metadata="required")
    entry = settled(root, "a.tif")
    beside(root, "a.tif.mdoc")
    inspector.frames["a.tif"] = 1
    assert door.facts(root, entry, 1.0) is None
