"""A file whose ctime alone changes is read again, at its time: rewritten it is redone, and else nothing is."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from watched_session import Watched, admitted, finished, mrc_bytes, wait_for

from cryoframe.execution.run import Run
from cryoframe.records.events import Event, FileSeen, FileSettled, FileSuperseded
from cryoframe.records.session_events import FileUnchanged
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.doubts import FALSE_ALARMS, SAMPLE, SHARE, Doubts
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.readiness import Entry

MANY = 1 << 40


def _doubted(n_files: int) -> tuple[Doubts, dict[str, Entry]]:
    doubts, entries = Doubts(trusted=True), {}
    for number in range(n_files):
        entry = entries[f"g{number % 7}/{number}.mrc"] = Entry(f"g{number % 7}/{number}.mrc", "admitted", size=10)
        doubts.add(entry)
    return doubts, entries


def test_when_all_files_are_in_doubt__a_sample_is_read_at_once_and_the_rest_for_a_tenth_of_the_time() -> None:
    doubts, entries = _doubted(5000)
    sample = doubts.take(1000, MANY)
    assert len(sample) == SAMPLE
    assert ("ctime of 4970 files" in doubts.news(), doubts.news()) == (True, ""), "a person is told, once"
    assert len({entry.path.partition("/")[0] for entry, _ in sample}) >= 5, "from all folders"
    for entry, _ in sample:
        assert doubts.is_urgent
        doubts.same(entry)
    doubts.read(3.0, 100.0)
    assert not doubts.is_urgent, "a session may end without the others"
    assert doubts.due_s == pytest.approx(100.0 + 3.0 * (1 / SHARE - 1))
    rest = doubts.take(10_000, MANY)
    assert {entry.path for entry, _ in (*sample, *rest)} == set(entries)
    assert (len(doubts), doubts.due_s, doubts.note) == (0, math.inf, "")


def test_one_of_another_content__has_all_others_read_as_fast_as_can_be() -> None:
    doubts, _ = _doubted(200)
    for entry, _ in doubts.take(SAMPLE, MANY):
        doubts.same(entry)
    doubts.read(3.0, 100.0)
    assert doubts.due_s > 100.0
    doubts.take(1, MANY)
    doubts.other()
    doubts.read(3.0, 200.0)
    assert (doubts.is_urgent, doubts.due_s) == (True, 200.0)


def test_files_in_doubt_again_and_again_that_never_differ__have_the_ctime_not_believed_any_more() -> None:
    doubts, entries = _doubted(FALSE_ALARMS + 5)
    n_read = 0
    for _ in range(50):
        for entry in entries.values():
            doubts.add(entry)
        for entry, _ in doubts.take(1000, MANY):
            doubts.same(entry)
            n_read += 1
        doubts.read(0.0, 0.0)
    assert not doubts.trusted
    assert n_read <= 2 * (FALSE_ALARMS + 5)
    assert (len(doubts), doubts.is_urgent) == (0, False)
    assert ("not looked at any more" in doubts.news(), doubts.news()) == (True, "")


def test_no_more_is_taken_than_bytes_allow__and_what_could_not_be_read_comes_last() -> None:
    doubts, entries = _doubted(20)
    first = doubts.take(50, 25)
    assert len(first) == 3
    for entry, n_tries in first:
        doubts.add(entry, n_tries=n_tries + 1)
    order = [entry.path for entry, _ in doubts.take(1000, MANY)]
    assert set(order[-3:]) == {entry.path for entry, _ in first}
    assert set(order) == set(entries)


def test_one_that_cannot_be_read__keeps_no_session_from_ending() -> None:
    doubts, _ = _doubted(1)
    assert doubts.is_urgent
    ((entry, n_tries),) = doubts.take(10, MANY)
    doubts.add(entry, n_tries=n_tries + 1)
    doubts.read(0.1, 100.0, at_least_s=60.0)
    assert (doubts.is_urgent, doubts.due_s, doubts.news()) == (False, 160.0, "")


def test_one_that_is_judged_anew_meanwhile__is_not_read_for_its_ctime() -> None:
    doubts, entries = _doubted(3)
    next(iter(entries.values())).status = "superseded"
    assert len(doubts.take(10, MANY)) == 2


def _rewrite(path: Path, content: bytes) -> None:
    """Write other bytes in place and put the time back."""
    facts = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def _after(events: list[Event], before: list[Event]) -> Counter[str]:
    return Counter(type(event).__name__ for event in events[len(before) :])


@pytest.mark.parametrize("n_files", [6])
def test_rewritten_between_two_sessions_with_size_and_time_restored__gives_a_product_of_the_new_bytes(
    watched: Watched, n_files: int, figure: Callable[[str, object], None]
) -> None:
    for number in range(n_files):
        watched.put(f"{number}.mrc", float(number))
    before = watched.session()
    rewritten = [f"{number}.mrc" for number in range(0, n_files, 3)]
    touched = [f"{number}.mrc" for number in range(1, n_files, 3)]
    for number in range(0, n_files, 3):
        _rewrite(watched.land / f"{number}.mrc", mrc_bytes(watched.folder, 1e4 + number))
    for number in range(1, n_files, 3):
        (watched.land / f"{number}.mrc").chmod(0o440)
    events = watched.session()
    new = events[len(before) :]
    assert sorted(event.path for event in new if isinstance(event, FileSuperseded)) == sorted(rewritten)
    assert sorted(event.path for event in new if isinstance(event, FileUnchanged)) == sorted(touched)
    assert sorted(item for _, item in finished(new)) == sorted(rewritten)
    with Run.open(watched.folder / "run.toml") as run:
        for task in run.state.tasks("ctf", "done"):
            number = int(task.item_id.partition(".")[0])
            product = run.store.load("ctf", task.key)
            assert product.defocus_v_A == number + (0.0 if number % 3 else 1e4)  # type: ignore[attr-defined]
    third = watched.session()
    said = _after(third, events)
    assert not set(said) & {"FileSeen", "FileSettled", "FileUnchanged", "StageStarted"}, "each was read once"
    figure("rewritten between two sessions, each redone, and as many touched that were not", len(rewritten))


def test_a_folder_copied_anew_with_all_its_times__is_read_again_and_nothing_is_done_twice(watched: Watched) -> None:
    n_files = SAMPLE + 5
    for number in range(n_files):
        watched.put(f"{number}.mrc", float(number))
    watched.put("twin.mrc", 1.0)
    before = watched.session()
    copied = watched.folder / "copied"
    shutil.copytree(watched.land, copied)
    shutil.rmtree(watched.land)
    copied.rename(watched.land)
    rows = {(row.path, row.status, row.digest) for row in watched.files.values()}
    events = watched.session()
    said = _after(events, before)
    assert said["FileUnchanged"] >= SAMPLE, "no fewer, and the others in the session that lasts"
    assert said["RootRemarked"] == 1, "a person is told"
    assert not set(said) & {"FileSeen", "FileSettled", "FileSuperseded", "ItemAdmitted", "StageQueued", "StageStarted"}
    assert {(row.path, row.status, row.digest) for row in watched.files.values()} == rows
    assert watched.counts == {"settled": n_files, "duplicate": 1}


@pytest.mark.parametrize("recheck", ["ctime", "never"])
def test_the_ctime_of_files_is_looked_at__unless_the_configuration_says_never(watched: Watched, recheck: str) -> None:
    path = watched.configure()
    path.write_text(path.read_text().replace("[watch]", f'[watch]\nrecheck = "{recheck}"'))
    watched.put("a.mrc")
    before = watched.session()
    _rewrite(watched.land / "a.mrc", mrc_bytes(watched.folder, 9.0))
    said = _after(watched.session(), before)
    assert said["FileSuperseded"] == (recheck == "ctime")


def test_what_lands_while_everything_is_in_doubt__is_taken_first(watched: Watched, figure: Callable[..., None]) -> None:
    n_old = SAMPLE + 30
    for number in range(n_old):
        watched.put(f"{number}.mrc", float(number))
    before = watched.session()
    for number in range(n_old):
        (watched.land / f"{number}.mrc").chmod(0o440)
    landed_ns: list[int] = []

    def land() -> None:
        wait_for(lambda: bool(watched.ticks) and "ctime" in watched.ticks[-1].note)
        watched.put("new.mrc", 1000.0)
        landed_ns.append(time.time_ns())

    watched.ticks.clear()
    events = watched.session_with(land, 1.5)[len(before) :]
    at = {event.path: n for n, event in enumerate(events) if isinstance(event, FileSettled)}
    assert set(at) == {"new.mrc"}
    assert admitted(events) == ["new.mrc"]
    n_first = sum(isinstance(event, FileUnchanged) for event in events[: at["new.mrc"]])
    assert n_first < n_old, "it did not wait for all of them"
    assert not any(isinstance(event, FileSeen) for event in events if getattr(event, "path", "") != "new.mrc")
    figure("read again before the new file was taken", n_first)


def test_a_batch_run_again__digests_the_files_whose_ctime_changed_and_does_nothing_twice(watched: Watched) -> None:
    path = watched.configure()
    text = path.read_text()
    start, end = text.index("[watch]"), text.index("[[stage]]")
    path.write_text(text[:start] + '[micrographs]\nfiles = "land/*.mrc"\n' + text[end:])
    for number in range(4):
        watched.put(f"{number}.mrc", float(number))

    def session() -> list[Event]:
        with Run.open(path) as run:
            run.execute()
            return list(run.journal.replay())

    before = session()
    (watched.land / "0.mrc").chmod(0o440)
    _rewrite(watched.land / "1.mrc", mrc_bytes(watched.folder, 9.0))
    events = session()
    said = _after(events, before)
    assert (said["FileUnchanged"], said["FileSuperseded"], said["StageFinished"]) == (1, 1, 1)
    said = _after(session(), events)
    assert not set(said) & {"FileUnchanged", "FileSettled", "StageStarted"}


def test_files_that_go_while_they_are_in_doubt__are_waited_for_by_nobody_and_doubted_when_they_return(
    watched: Watched,
) -> None:
    names = [f"{number}.mrc" for number in range(3)]
    for number, name in enumerate(names):
        watched.put(name, float(number))
    watched.session(0.2)
    for name in names:
        (watched.land / name).chmod(0o440)
    away = watched.folder / "away"
    with Run.open(watched.folder / "run.toml") as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        root, recheck = daemon.roots[0], daemon._rechecks[0]
        root.rescan(time.monotonic())
        assert len(root.doubts) == 3
        recheck._begin()  # they are in hand
        recheck._put_back(*recheck._inside.popleft())
        assert len(root.doubts) == 1
        watched.land.rename(away)
        watched.land.mkdir()
        root.rescan(time.monotonic())
        recheck._put_back_all()  # they could not be read
        assert (len(root.doubts), root.doubts.is_urgent, root.doubts.due_s) == (0, False, math.inf)
        watched.land.rmdir()
        away.rename(watched.land)
        root.rescan(time.monotonic())
        assert len(root.doubts) == 3
        daemon.close()


def test_a_share_whose_ctimes_are_never_the_same__keeps_no_session_from_ending(watched: Watched) -> None:
    path = watched.put("a.mrc")
    watched.session(0.2)
    with Run.open(watched.folder / "run.toml") as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        (root,) = daemon.roots
        for is_trusted in (True, False):
            root.doubts.trusted = is_trusted
            root.rescan(time.monotonic())
            path.chmod(0o444 if is_trusted else 0o400)
            assert root.rescan(time.monotonic())[0] == is_trusted
        watched.put("b.mrc")
        assert root.rescan(time.monotonic())[0], "a new file counts"
        os.utime(path)
        assert root.rescan(time.monotonic())[0], "so does a change of more than the ctime"
        daemon.close()
