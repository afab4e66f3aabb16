"""A file that settles is looked at few times, and taken only if the last look shows what the first one did."""

from __future__ import annotations

import math
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoframe.errors import EnvironmentFault
from cryoframe.kernel.config import WatchConfig
from cryoframe.watch.agenda import Agenda
from cryoframe.watch.doorstep import Doorstep
from cryoframe.watch.readiness import Entry
from cryoframe.watch.roots import BATCH, Root
from cryoframe.watch.scanner import AtOnce, Changes, Look, Seen

SETTLE_S, LONG_S, POLL_S = 20.0, 300.0, 2.0
CONFIG = WatchConfig(settle_s=SETTLE_S, long_settle_s=LONG_S, poll_s=POLL_S, patterns=("*.mrc", "*.tif"))
#: The look itself takes real time.
A_LITTLE_S = 0.5


class Disk(AtOnce):
    """Files by name, as scanner and looks show them; `stale` is what rescans go on showing of some."""

    def __init__(self) -> None:
        self.files: dict[str, Look] = {}
        self.stale: dict[str, Look] = {}
        self.n_looks: Counter[str] = Counter()
        self.fault = ""
        self._shown: dict[str, Look] = {}

    def write(self, name: str, size: int, *, mtime_ns: int = 0, ctime_ns: int = 0, hole: bool = False) -> None:
        self.files[name] = Look(size, mtime_ns or size, ctime_ns or size, hole)

    def scan(self) -> Changes:
        now = self.files | self.stale
        changed = {name: Seen("file", *look[:3], 1) for name, look in now.items() if self._shown.get(name) != look}
        gone, fresh = sorted(self._shown.keys() - now.keys()), not self._shown
        self._shown = now
        return Changes(fresh, changed, gone, len(now), [])

    def look(self, paths: list[str]) -> dict[str, Look | str]:
        if self.fault:
            raise EnvironmentFault(self.fault)
        self.n_looks.update(paths)
        return {path: self.files.get(path, "No such file or directory") for path in paths}


class Watching:
    """A root over a disk of thought, with a clock of its own."""

    def __init__(self, config: WatchConfig = CONFIG) -> None:
        self.disk, self.now_s = Disk(), 0.0
        self.root = Root(Path("/land"), "Movie", config, [], scanner=self.disk)  # type: ignore[arg-type]
        #: When each became ripe.
        self.ripe_s: dict[str, float] = {}

    def until(self, end_s: float, *, scans: bool = True, step_s: float = 0.5) -> None:
        while self.now_s <= end_s:
            if scans and self.now_s % POLL_S == 0:
                self.root.rescan(self.now_s)
            self.root.look(self.now_s)
            for entry in self.root.ripe(()):
                self.ripe_s.setdefault(entry.path, self.now_s)
            self.now_s += step_s


def test_a_file_that_stands_still__is_looked_at_three_times() -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(100.0)
    assert watching.ripe_s["a.mrc"] == pytest.approx(SETTLE_S, abs=A_LITTLE_S)
    assert watching.disk.n_looks["a.mrc"] == 3


def test_a_change_that_a_rescan_sees__is_looked_at_and_settles_anew() -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(9.0)
    watching.disk.write("a.mrc", 11)
    watching.until(100.0)
    assert watching.ripe_s["a.mrc"] == pytest.approx(10.0 + SETTLE_S, abs=A_LITTLE_S)


@pytest.mark.parametrize("changed", [{"mtime_ns": 7}, {"mtime_ns": 10, "ctime_ns": 7}, {"hole": True}])
def test_a_change_that_only_the_last_look_sees__settles_anew(changed: dict[str, Any]) -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(9.0)
    watching.disk.stale["a.mrc"] = watching.disk.files["a.mrc"]
    watching.disk.write("a.mrc", 10, **changed)
    watching.until(SETTLE_S + 10.0)
    if changed == {"hole": True}:
        assert not watching.ripe_s, "what was reserved and is not written stands still for the long time"
        watching.until(LONG_S + 1.0)
        assert watching.ripe_s["a.mrc"] == pytest.approx(LONG_S, abs=POLL_S)
        return
    assert not watching.ripe_s
    watching.until(2 * SETTLE_S + 2.0)
    assert watching.ripe_s["a.mrc"] == pytest.approx(2 * SETTLE_S, abs=2 * A_LITTLE_S)


def test_a_change_after_it_was_ripe__makes_it_unripe() -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(SETTLE_S + 1.0)
    assert watching.root.ripe(())
    watching.disk.write("a.mrc", 11)
    watching.until(SETTLE_S + 4.0)
    assert not watching.root.ripe(())
    watching.until(3 * SETTLE_S)
    assert watching.root.ripe(())


def test_one_that_is_being_read__is_not_offered_again() -> None:
    watching = Watching()
    for name in ("a.mrc", "b.mrc"):
        watching.disk.write(name, 10)
    watching.until(SETTLE_S + 1.0)
    assert [entry.path for entry in watching.root.ripe({"a.mrc"})] == ["b.mrc"]
    assert [entry.path for entry in watching.root.ripe(())] == ["a.mrc", "b.mrc"]


@given(
    st.lists(st.tuples(st.floats(0.1, 30.0), st.sampled_from(["size", "mtime", "ctime", "nothing"])), max_size=12),
    st.booleans(),
)
def test_nothing_is_taken__that_changed_within_the_settling_time(steps: list[tuple[float, str]], scans: bool) -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(0.0)
    facts, changed_s = [10, 10, 10], 0.0
    for after_s, what in steps:
        watching.until(watching.now_s + after_s, scans=scans)
        if "a.mrc" in watching.ripe_s:
            break
        if what != "nothing":
            facts[["size", "mtime", "ctime"].index(what)] += 1
            watching.disk.write("a.mrc", facts[0], mtime_ns=facts[1], ctime_ns=facts[2])
            changed_s = watching.now_s
    watching.until(watching.now_s + 3 * SETTLE_S, scans=scans)
    assert watching.ripe_s["a.mrc"] - changed_s >= SETTLE_S - 0.5, "changes fall between two steps of half a second"


def test_what_waits_for_the_long_time__is_looked_at_all_along_since_what_it_waits_for_may_come() -> None:
    watching = Watching()
    watching.disk.write("a.tif", 10)
    watching.until(100.0)
    assert watching.disk.n_looks["a.tif"] >= 100.0 / POLL_S - 2
    watching.root.required_s = lambda entry: SETTLE_S  # another movie has told how many frames there are
    watching.until(100.0 + POLL_S)
    assert watching.ripe_s["a.tif"] <= 100.0 + POLL_S + 0.5


def test_a_side_car_that_confirms_a_file__has_it_looked_at_again_at_once() -> None:
    class Inspector:
        def n_frames(self, path: Path) -> int:
            raise AssertionError(path)

        def metadata(self, path: Path) -> dict[str, Any]:
            assert path.name == "a.mrc.mdoc"
            return {"n_frames": 4}

    watching = Watching()
    watching.root.required_s = partial(Doorstep(CONFIG, None, Inspector()).required_s, watching.root)
    watching.disk.write("a.mrc", 10)
    watching.until(9.0)
    watching.disk.write("a.mrc.mdoc", 5)
    watching.until(12.0)
    assert watching.ripe_s["a.mrc"] == 10.0


def test_a_share_that_does_not_answer__has_its_files_looked_at_when_it_does() -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.root.rescan(0.0)
    watching.disk.fault = "no answer"
    watching.root.look(0.0)
    assert (watching.root.offline, watching.root.next_look_s) == ("no answer", math.inf)
    watching.disk.fault = ""
    watching.now_s = 2.0
    watching.until(3.0 + SETTLE_S)
    assert watching.ripe_s["a.mrc"] == pytest.approx(2.0 + SETTLE_S, abs=A_LITTLE_S)


def test_a_shorter_settling_time__holds_for_what_is_settling() -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(9.0)
    watching.root.renew(WatchConfig(settle_s=5.0, poll_s=POLL_S, patterns=("*.mrc",)))
    watching.until(10.0)
    assert watching.ripe_s["a.mrc"] == 9.5


def test_thousands_of_files__are_looked_at_in_groups_and_none_is_left_out() -> None:
    watching, n_files = Watching(), 2 * BATCH + 10
    for number in range(n_files):
        watching.disk.write(f"{number}.mrc", 10)
    watching.root.rescan(0.0)
    for at, expected in enumerate((BATCH, 2 * BATCH, n_files)):
        assert watching.root.next_look_s == 0.0, at
        watching.root.look(0.0)
        assert watching.disk.n_looks.total() == expected
    assert watching.root.next_look_s > 0.0


def test_the_agenda__has_one_date_a_file_and_the_last_one_counts() -> None:
    agenda, first, second = Agenda(), Entry("a"), Entry("b", not_before_s=6.0)
    agenda.put(first, 5.0)
    agenda.put(first, 1.0)
    agenda.put(first, 3.0)
    agenda.put(second, 2.0)
    assert agenda.next_s == 3.0
    assert agenda.take(2.9, 10) == []
    assert agenda.take(5.0, 10) == [first]
    assert agenda.take(5.0, 10) == [], "it was taken out"
    assert agenda.next_s == 6.0
    second.not_before_s = 8.0
    assert agenda.take(7.0, 10) == [], "it was put off since"
    assert agenda.take(8.0, 10) == [second]
    agenda.put(first, 9.0)
    first.status = "admitted"
    assert agenda.next_s == math.inf


def test_a_file_taken_up_from_the_journal__is_looked_at(tmp_path: Path) -> None:
    from cryoframe.records.state import FileRow

    disk = Disk()
    disk.write("a.mrc", 10)
    row = FileRow("a.mrc", os.fspath(tmp_path), 10, 10, "", "seen", "")
    root = Root(tmp_path, "Movie", CONFIG, [row], scanner=disk)  # type: ignore[arg-type]
    root.rescan(1.0)
    root.look(1.0)
    assert disk.n_looks["a.mrc"] == 1


def test_files_whose_share_goes_between_rescan_and_look__are_not_refused() -> None:
    watching = Watching()
    watching.disk.write("a.mrc", 10)
    watching.until(SETTLE_S - 1.0)
    away, watching.disk.files = watching.disk.files, {}
    watching.until(SETTLE_S + 5.0, scans=False)
    assert watching.root.entries["a.mrc"].is_pending
    watching.disk.files = away
    watching.until(3 * SETTLE_S)
    assert watching.root.ripe(())
