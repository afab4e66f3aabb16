"""Files are read whole in a process apart: a share or a reader that hangs takes nobody's time, and is told apart."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from watched_session import PLUGIN, Watched, admitted, finished, wait_for

from cryoframe.data.ids import digest_file
from cryoframe.errors import Corrupt, EnvironmentFault, Incomplete, Unsupported
from cryoframe.execution.admit import Reading
from cryoframe.execution.run import Run
from cryoframe.watch.daemon import Daemon
from cryoframe.watch.guard import DiskGuard
from cryoframe.watch.intake import MAX_SILENT, Desk, Intake

READER = '''
import os, signal, time
from pathlib import Path
from cryoframe.data.images import MicrographSource

@hookimpl
def open_micrograph(path: Path) -> MicrographSource | None:
    """Fall over in the way the file asks for."""
    word = path.read_bytes()[:4]
    if word == b"HANG":
        time.sleep(600)
    if word == b"KILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"GROW":
        path.write_bytes(word + b"more")
    return None
'''


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    (tmp_path / "ill.py").write_text(PLUGIN + READER)
    return Intake([tmp_path / "ill.py"], (), silence_s=1.5)


def _outcome(intake: Intake, path: Path) -> Reading:
    intake.begin([path], "Micrograph")
    while True:
        start_s = time.monotonic()
        found = intake.outcome(0.05)
        if found is not None:
            return found
        assert time.monotonic() - start_s < 1.0, "asking is to take no time"


def test_a_whole_file__is_read_with_its_identity_digest_and_header(watched: Watched, intake: Intake) -> None:
    path = watched.put("a.mrc", 3.0, box_px=48)
    found = _outcome(intake, path)
    assert (found.size, found.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert found.digest == digest_file(path)
    assert (found.header["ny_px"], found.header["nx_px"], found.header["pixel_size_A"]) == (48, 48, 1.0)
    assert intake.exists(path)
    assert not intake.exists(path / "b")
    intake.close()


def test_a_share_that_hangs__is_the_environments_fault_and_the_next_file_is_read(
    watched: Watched, intake: Intake
) -> None:
    hung = watched.folder / "hung.mrc"
    os.mkfifo(hung)  # opening it waits for ever, as opening a file on a dead share does
    start_s = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"hung.mrc cannot be read \(no answer in 1.5 s\)"):
        _outcome(intake, hung)
    assert time.monotonic() - start_s < 15.0
    assert _outcome(intake, watched.put("a.mrc")).size > 1024
    intake.close()


def test_a_reader_that_hangs_again_and_again__is_the_files_fault(tmp_path: Path, intake: Intake) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(b"HANG")
    for _ in range(MAX_SILENT - 1):
        with pytest.raises(EnvironmentFault):
            _outcome(intake, path)
    with pytest.raises(Corrupt, match="did not survive"):
        _outcome(intake, path)
    intake.close()


def test_each_way_of_being_unusable__has_its_own_error(tmp_path: Path, intake: Intake) -> None:
    path = tmp_path / "a.mrc"
    for content, cls in ((b"KILL", Corrupt), (b"GROW", Incomplete), (b"none", Unsupported)):
        path.write_bytes(content)
        if content == b"KILL":
            with pytest.raises(EnvironmentFault, match="died"):
                _outcome(intake, path)
        with pytest.raises((cls, Unsupported)) as raised:
            _outcome(intake, path)
        if content != b"GROW":
            assert type(raised.value) is cls
    with pytest.raises(EnvironmentFault, match="No such file"):
        _outcome(intake, tmp_path / "absent.mrc")
    path.chmod(0)
    if not os.access(path, os.R_OK):
        with pytest.raises(EnvironmentFault, match="Permission"):
            _outcome(intake, path)
    intake.close()


def test_a_file_that_hangs_its_reading__holds_up_neither_the_daemon_nor_another_root(watched: Watched) -> None:
    path = watched.configure(settle_s=0.1, poll_s=0.1)
    other = watched.folder / "other"
    other.mkdir()
    text = path.read_text().replace('folder = "land"', 'folders = ["land", "other"]')
    path.write_text(text)
    (watched.folder / "trivial.py").write_text(PLUGIN + READER)
    (watched.land / "hang.mrc").write_bytes(b"HANG" * 1000)
    with Run.open(path) as run:
        daemon = Daemon(run, DiskGuard(run.folder, low_bytes=0, reserve_bytes=4096))
        runner, slowest_s, n_turns = run.runner(live=True), [0.0], [0]

        def turn() -> bool:
            start_s = time.monotonic()
            daemon._turn(runner)
            slowest_s[0] = max(slowest_s[0], time.monotonic() - start_s)
            n_turns[0] += 1
            return run.state.task_counts() == {"ctf": {"done": 5}}

        wait_for(lambda: turn() or daemon._entrances[0].is_reading)
        for number in range(5):
            watched.put(f"../other/{number}.mrc", float(number))
        wait_for(lambda: turn(), 60.0)
        events = list(run.journal.replay())
        assert daemon._entrances[0].is_reading, "it hangs still"
        daemon.close()
    assert len(admitted(events)) == len(finished(events)) == 5
    assert slowest_s[0] < 5.0, f"a turn took {slowest_s[0]:.1f} s"


def test_a_file_that_changes_while_it_is_read__is_incomplete(watched: Watched) -> None:
    path = watched.put("a.mrc")
    whole = path.read_bytes()

    def beat(word: str) -> None:
        if word == "header":  # the digest is taken; the size stays as it was
            path.write_bytes(whole[:-4] + b"\0\0\0\0")
            os.utime(path, ns=(1, 1))

    said = Desk({"files": [], "blocked": []}).answer({"read": str(path), "kind": "Micrograph"}, beat)
    assert (said["type"], said["what"]) == ("Incomplete", "the file changed while it was read")


def test_a_process_lost_between_two_files__is_not_the_fault_of_the_second(tmp_path: Path, intake: Intake) -> None:
    said = [{"beat": "digest"}, {"beat": "header"}, {"size": 1, "mtime_ns": 2, "digest": "d", "header": {}}]
    lines = "".join(f"{json.dumps(one)}\n" for one in said)
    intake._child._command = [sys.executable, "-c", f"import sys; sys.stdin.readline(); print({lines!r}, end='')"]
    intake.begin([tmp_path / "first", tmp_path / "second"], "Micrograph")
    found = None
    while found is None:
        found = intake.outcome(1.0)
    assert found.digest == "d"
    with pytest.raises(EnvironmentFault, match="died"):
        intake.outcome(20.0)
    intake.close()


def test_a_share_that_goes_between_digest_and_header__blames_no_file(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryoframe.watch import prober

    path, away = watched.put("a.mrc", 3.0), watched.folder / "away"
    desk = Desk({"files": [], "blocked": []})
    header = Desk._header

    def gone(self: Desk, path: Path, kind: str) -> dict[str, object]:
        watched.land.rename(away)
        return header(self, path, kind)

    monkeypatch.setattr(Desk, "_header", gone)
    said = desk.answer({"read": str(path), "kind": "Micrograph"}, lambda _: None)
    assert said["type"] == "OSError", said
    readers = prober._Readers({"files": [], "blocked": []})
    assert readers.answer({"movie": str(path)})["type"] == "EnvironmentFault"
    asking = prober.Prober([], ())
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        asking.n_frames(path)
    asking.close()
