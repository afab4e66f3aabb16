"""The daemon on a real run: what is whole is done once, what is not is never handed over, kills change nothing."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from watched_session import Watched, admitted, finished, mrc_bytes, rescan, wait_for

from cryoframe.errors import ConfigError, StoreError
from cryoframe.execution.run import Run
from cryoframe.records.events import FileDuplicate, FileRejected, FileSuperseded, ItemAdmitted
from cryoframe.watch.daemon import Daemon, RootFound, RootLost, watch
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.wakeup import Wakeup


def test_files_there_at_the_start_and_files_that_come__are_done_once(watched: Watched) -> None:
    watched.put("a.mrc", 1.0)

    def land() -> None:
        for number in range(5):
            time.sleep(0.1)
            watched.put(f"deep/{number}.mrc", 10.0 + number)

    events = watched.session_with(land)
    assert sorted(admitted(events)) == ["a.mrc", *(f"deep/{number}.mrc" for number in range(5))]
    assert set(finished(events).values()) == {1}
    assert len(finished(events)) == 6
    assert watched.counts == {"settled": 6}


def test_a_growing_file__is_handed_over_only_when_whole(watched: Watched) -> None:
    content = mrc_bytes(watched.folder, box_px=64)
    written_s = []

    def land() -> None:
        with (watched.land / "a.mrc").open("wb") as file:
            for start in range(0, len(content), 1500):
                file.write(content[start : start + 1500])
                file.flush()
                time.sleep(0.08)
        written_s.append(time.time_ns())

    events = watched.session_with(land)
    (item,) = [event for event in events if isinstance(event, ItemAdmitted)]
    assert int(item.event_id[:16], 16) > written_s[0]
    assert finished(events) == {("ctf", "a.mrc"): 1}
    assert not [event for event in events if isinstance(event, FileRejected)]


def test_a_writer_that_stalls_beyond_the_settling_time__is_seen_through_by_structure(watched: Watched) -> None:
    content = mrc_bytes(watched.folder, box_px=64)
    written_s = []

    def land() -> None:
        with (watched.land / "a.mrc").open("wb") as file:
            for part in (content[:500], content[500:1024], content[1024:9000], content[9000:-1], content[-1:]):
                file.write(part)
                file.flush()
                time.sleep(0.5)
        written_s.append(time.time_ns())

    events = watched.session_with(land, until_idle_s=1.2)
    (item,) = [event for event in events if isinstance(event, ItemAdmitted)]
    assert int(item.event_id[:16], 16) > written_s[0] - 600_000_000
    assert finished(events) == {("ctf", "a.mrc"): 1}
    assert {event.kind for event in events if isinstance(event, FileRejected)} <= {"Incomplete", "Corrupt"}


def test_truncated_files__are_never_handed_over(watched: Watched) -> None:
    content = mrc_bytes(watched.folder)
    cuts = [*range(0, len(content), len(content) // 40), len(content) - 1]
    for cut in cuts:
        (watched.land / f"cut{cut:05d}.mrc").write_bytes(content[:cut])
    watched.put("whole.mrc")
    events = watched.session()
    assert admitted(events) == ["whole.mrc"]
    assert watched.ticks[-1].counts["incomplete"] + watched.ticks[-1].counts["rejected"] == len(cuts)
    assert all(row.reason for row in watched.files.values() if row.status == "rejected")


def test_a_truncated_file_that_is_completed_later__is_done_then(watched: Watched) -> None:
    content = mrc_bytes(watched.folder)
    (watched.land / "a.mrc").write_bytes(content[:2000])
    assert admitted(watched.session()) == []
    (watched.land / "a.mrc").write_bytes(content)
    events = watched.session()
    assert finished(events) == {("ctf", "a.mrc"): 1}
    assert watched.counts == {"settled": 1}


def test_a_temporary_name_then_a_rename__is_one_acceptance(watched: Watched) -> None:
    def land() -> None:
        for number in range(10):
            watched.put(f".n{number}.mrc.Xy12Zz", float(number))
            time.sleep(0.03)
            (watched.land / f".n{number}.mrc.Xy12Zz").rename(watched.land / f"n{number}.mrc")

    events = watched.session_with(land)
    assert sorted(admitted(events)) == [f"n{number}.mrc" for number in range(10)]
    assert set(finished(events).values()) == {1}


def test_a_copy_under_another_name__is_a_duplicate_and_nothing_is_redone(watched: Watched) -> None:
    watched.put("a.mrc")
    watched.session()
    watched.put("b.mrc")
    events = watched.session()
    assert [event.item_id for event in events if isinstance(event, FileDuplicate)] == ["a.mrc"]
    assert finished(events) == {("ctf", "a.mrc"): 1}
    again = watched.session()
    assert len([event for event in again if isinstance(event, FileDuplicate)]) == 1


def test_a_renamed_file__is_not_redone(watched: Watched) -> None:
    watched.put("a.mrc")
    watched.session()
    (watched.land / "a.mrc").rename(watched.land / "b.mrc")
    assert finished(watched.session()) == {("ctf", "a.mrc"): 1}


def test_a_file_rewritten_after_it_was_admitted__is_superseded_and_redone(watched: Watched) -> None:
    watched.put("a.mrc", 1.0)
    watched.session()
    facts = (watched.land / "a.mrc").stat()
    watched.put("a.mrc", 2.0)
    os.utime(watched.land / "a.mrc", ns=(facts.st_atime_ns, facts.st_mtime_ns - 10**9))
    events = watched.session()
    assert len([event for event in events if isinstance(event, FileSuperseded)]) == 1
    assert finished(events) == {("ctf", "a.mrc"): 2}
    assert watched.counts == {"settled": 1}


def test_a_preallocated_file__waits_until_it_is_filled(watched: Watched) -> None:
    content = mrc_bytes(watched.folder, box_px=128)
    filled_s = []

    def land() -> None:
        with (watched.land / "a.mrc").open("wb") as file:
            file.truncate(len(content))
            file.write(content[:1024])
            file.flush()
            os.utime(watched.land / "a.mrc", (0, 0))
            time.sleep(0.35)
            file.seek(0)
            file.write(content)
        filled_s.append(time.time_ns())

    events = watched.session_with(land, until_idle_s=0.8)
    (item,) = [event for event in events if isinstance(event, ItemAdmitted)]
    assert int(item.event_id[:16], 16) > filled_s[0]


def test_hostile_names__are_processed_byte_for_byte(watched: Watched) -> None:
    names = [
        b"new\nline.mrc",
        b"-rf.mrc",
        b"; rm -r x.mrc",
        b"$(id).mrc",
        b"%s%n.mrc",
        b"caf\xe9.mrc",
        b"a.MRC",
        b"A.mrc",
    ]
    for number, name in enumerate(names):
        watched.put(os.fsdecode(name), float(number))
    listing = sorted(watched.land.iterdir())
    events = watched.session()
    assert sorted(os.fsencode(name) for name in watched.files) == sorted(names)
    printable = {os.fsencode(name).decode("utf-8", "backslashreplace") for name in watched.files}
    assert set(admitted(events)) == printable
    assert {item for _, item in finished(events)} == printable
    assert sorted(watched.land.iterdir()) == listing


def test_garbage_and_non_files__are_rejected_or_ignored_with_a_reason(watched: Watched) -> None:
    (watched.land / "noise.mrc").write_bytes(os.urandom(5000))
    (watched.land / "empty.mrc").write_bytes(b"")
    (watched.land / "notes.txt").write_text("x")
    (watched.land / "link.mrc").symlink_to("/etc/passwd")
    os.mkfifo(watched.land / "fifo.mrc")
    watched.put("good.mrc")
    events = watched.session()
    assert admitted(events) == ["good.mrc"]
    assert {path: row.status for path, row in watched.files.items()} == {
        "noise.mrc": "rejected", "empty.mrc": "rejected", "notes.txt": "ignored", "link.mrc": "ignored",
        "fifo.mrc": "ignored", "good.mrc": "settled",
    }  # fmt: skip
    assert all(row.reason for path, row in watched.files.items() if path != "good.mrc")


def test_the_watched_folder__is_left_exactly_as_it_was(watched: Watched) -> None:
    for number in range(3):
        watched.put(f"{number}.mrc", float(number))
    before = {p.name: (p.stat().st_mtime_ns, p.stat().st_ctime_ns, p.read_bytes()) for p in watched.land.iterdir()}
    folder_before = (watched.land.stat().st_mtime_ns, watched.land.stat().st_ctime_ns)
    watched.session()
    assert {
        p.name: (p.stat().st_mtime_ns, p.stat().st_ctime_ns, p.read_bytes()) for p in watched.land.iterdir()
    } == before
    assert (watched.land.stat().st_mtime_ns, watched.land.stat().st_ctime_ns) == folder_before


def test_every_file__has_one_status_at_every_rescan(watched: Watched) -> None:
    def land() -> None:
        for number in range(20):
            watched.put(f"{number}.mrc", float(number % 15))
            (watched.land / f"{number}.txt").write_text("x")
            if number % 5 == 0:
                (watched.land / f"cut{number}.mrc").write_bytes(b"x" * 1500)

    watched.session_with(land)
    for tick in watched.ticks:
        counts = dict(tick.counts)
        assert counts.pop("seen") == sum(counts.values())
    last = watched.ticks[-1].counts
    assert (last["seen"], last["admitted"], last["duplicate"], last["ignored"]) == (44, 15, 5, 20)


def test_lost_count__stops_the_daemon(daemon: Daemon, watched: Watched) -> None:
    watched.put("a.mrc")
    rescan(daemon)
    daemon.check_arithmetic()
    del daemon.roots[0].entries["a.mrc"]
    with pytest.raises(StoreError, match="do not add up"):
        daemon.check_arithmetic()


def test_a_share_that_goes_away_and_returns__loses_and_deletes_nothing(watched: Watched) -> None:
    watched.put("a.mrc", 1.0)
    away = watched.folder / "away"

    def land() -> None:
        wait_for(lambda: any(tick.counts["admitted"] == 1 for tick in watched.ticks))
        watched.land.rename(away)
        wait_for(lambda: bool(watched.ticks[-1].offline))
        Path(away / "b.mrc").write_bytes(mrc_bytes(watched.folder, 2.0))
        time.sleep(0.7)
        away.rename(watched.land)

    events = watched.session_with(land, until_idle_s=0.5)
    assert sorted(admitted(events)) == ["a.mrc", "b.mrc"]
    assert set(finished(events).values()) == {1}
    assert [type(event) for event in events if isinstance(event, (RootLost, RootFound))] == [RootLost, RootFound]
    assert watched.counts == {"settled": 2}


def test_a_disk_below_the_mark__pauses_and_goes_on_by_itself(watched: Watched) -> None:
    watched.put("a.mrc")
    with Run.open(watched.folder / "run.toml") as run:
        guard = DiskGuard(run.folder, low_bytes=1 << 60, reserve_bytes=4096)
        runner = run.runner(live=True)

        def relieve() -> None:
            wait_for(lambda: any(tick.paused for tick in watched.ticks))
            time.sleep(0.5)
            guard.low_bytes, runner.low_water_MB = 0, 0.0

        thread = threading.Thread(target=relieve)
        thread.start()
        watch(run, until_idle_s=1.5, on_tick=watched.ticks.append, guard=guard)
        thread.join()
        paused = [tick for tick in watched.ticks if tick.paused]
        assert paused
        assert all(tick.counts["admitted"] == 0 for tick in paused)
        assert run.state.task_counts() == {"ctf": {"done": 1}}


def test_without_a_folder__there_is_nothing_to_watch(watched: Watched) -> None:
    config = watched.folder / "run.toml"
    text = config.read_text()
    config.write_text("\n".join(line for line in text.splitlines() if not line.startswith('folder = "land"')))
    with Run.open(config) as run, pytest.raises(ConfigError, match="no folder"):
        watch(run, until_idle_s=0.1)


def test_hints__wake_long_before_the_next_poll(watched: Watched) -> None:
    watched.configure(settle_s=0.1, poll_s=10.0, observer="native")
    landed_s = []

    def land() -> None:
        wait_for(lambda: bool(watched.ticks))
        time.sleep(0.3)
        watched.put("a.mrc")
        landed_s.append(time.time_ns())

    events = watched.session_with(land, until_idle_s=2.0)
    (item,) = [event for event in events if isinstance(event, ItemAdmitted)]
    assert (int(item.event_id[:16], 16) - landed_s[0]) / 1e9 < 7.0


def test_an_observer_that_cannot_start__leaves_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.start", refuse)
    wakeup = Wakeup([tmp_path], "native")
    wakeup.tend()
    assert "inotify watch limit" in wakeup.note
    assert wakeup.wait(0.01) is False
    wakeup.close()


def test_files_that_an_input_section_names_too__are_judged_before_they_are_taken(watched: Watched) -> None:
    content = mrc_bytes(watched.folder, box_px=64)
    with (watched.folder / "run.toml").open("a") as config:
        config.write('[[micrographs]]\nfiles = ["land/*.mrc", "elsewhere/*.mrc"]\n')
    (watched.folder / "elsewhere").mkdir()
    (watched.folder / "elsewhere" / "old.mrc").write_bytes(mrc_bytes(watched.folder, 5.0))
    (watched.land / "a.mrc").write_bytes(content[:9000])
    written_ns = []

    def land() -> None:
        wait_for(lambda: len(watched.ticks) > 2)
        (watched.land / "a.mrc").write_bytes(content)
        written_ns.append(time.time_ns())

    events = watched.session_with(land)
    at_ns = {event.item_id: int(event.event_id[:16], 16) for event in events if isinstance(event, ItemAdmitted)}
    assert sorted(at_ns) == ["a.mrc", "old.mrc"]
    assert at_ns["a.mrc"] > written_ns[0] - 10**8
    assert finished(events) == {("ctf", "a.mrc"): 1, ("ctf", "old.mrc"): 1}
    assert all(tick.counts["seen"] == 1 for tick in watched.ticks)
