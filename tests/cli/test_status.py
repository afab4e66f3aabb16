"""`cryoframe status` says who is at work and what stands still: in alarm, paused, ended, killed, not begun yet."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cryoframe.cli.main import main
from cryoframe.errors import EnvironmentFault
from cryoframe.records import events, session_events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.watch.daemon import RootFound, RootLost

SAMPLES = sorted((Path(__file__).parents[1] / "recorded" / "journals").glob("v*.sqlite.gz"))
Status = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Bus]:
    """The bus of a run that was begun and has an item in work."""
    folder = tmp_path / "run"
    folder.mkdir()
    database = Database.open(folder / "state.sqlite")
    bus = Bus(Journal(database), "night")
    bus.publish(events.RunOpened, folder=str(folder), config_digest="d")
    bus.publish(events.ItemAdmitted, item_id="a", kind="Movie", digest="d", path="/x/a", facts={})
    bus.publish(events.StageStarted, stage_id="ctf", item_id="a", key="k", attempt=1, worker="w", device="cpu")
    yield bus
    database.close()


@contextmanager
def at_work(tmp_path: Path) -> Iterator[None]:
    """Have the run in hand, as a process that works at it has."""
    said = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T %z', time.localtime(0))}"
    (tmp_path / "run" / "lock").write_text(said, encoding="ascii")
    with (tmp_path / "run" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Status:
    """Return what the verb says: the facts, with its words as ``text``."""

    def asked() -> dict[str, Any]:
        capsys.readouterr()
        assert main(["status", str(tmp_path / "run")]) == 0
        text = capsys.readouterr().out
        assert main(["status", str(tmp_path / "run"), "--json"]) == 0
        return {**json.loads(capsys.readouterr().out), "text": text}

    return asked


def test_a_run_at_work__is_said_with_its_process_and_memory(run: Bus, tmp_path: Path, status: Status) -> None:
    with at_work(tmp_path):
        said = status()
    assert (said["state"], said["since"]) == ("at work", "1970-01-01T00:00:00+00:00")
    assert said["text"].startswith(f"at work: in the charge of process {os.getpid()} on ")
    assert said["memory_MB"][0] > 10.0
    assert said["disk_GB"][0] > 0.0
    assert said["tasks"] == {"ctf": {"running": 1}}


def test_a_paused_run__says_by_whom_and_goes_on_after(run: Bus, tmp_path: Path, status: Status) -> None:
    with at_work(tmp_path):
        run.publish(session_events.RunHeld, who="anna")
        said = status()
        assert said["state"] == "paused"
        assert "paused by anna at " in said["text"]
        assert "`cryoframe resume` goes on" in said["text"]
        run.publish(session_events.RunReleased, who="anna")
        assert status()["state"] == "at work"


def test_alarms__come_before_everything_and_go_when_they_are_over(run: Bus, tmp_path: Path, status: Status) -> None:
    where = {"kind": "share", "subject": "/share"}
    with at_work(tmp_path):
        run.publish(session_events.RunHeld, who="anna")
        run.publish(session_events.AlarmRaised, **where, message="it has not answered for 130 s")
        said = status()
        assert said["state"] == "alarm"
        assert said["text"].splitlines()[1].startswith("ALARM since ")
        assert said["text"].splitlines()[1].endswith("share /share: it has not answered for 130 s")
        run.publish(session_events.AlarmCleared, **where)
        assert status()["state"] == "paused"


def test_what_stands_still__is_said_by_stage_share_and_disk_until_it_goes_on(
    run: Bus, tmp_path: Path, status: Status
) -> None:
    held = {"stage_id": "picks", "plugin": "blob"}
    with at_work(tmp_path):
        run.publish(events.RunPaused, reason="only 1 GB is free")
        assert status()["state"] == "paused"
        run.publish(session_events.StageHeld, **held, reason="11 of 20 failed")
        run.publish(session_events.StageHeld, stage_id="ctf", plugin="x", reason="12 of 20 failed")
        run.publish(session_events.StageReleased, stage_id="ctf", plugin="x", reason="asked")
        run.publish(RootLost, root="/share", reason="no such device")
        said = status()
        named = [(one["kind"], one["subject"], one["reason"]) for one in said["stands_still"]]
        assert named == [
            ("share", "/share", "no such device"),
            ("disk", "", "only 1 GB is free"),
            ("stage", "picks", "11 of 20 failed"),
        ]
        assert said["state"] == "alarm"
        assert "`cryoframe resume --stage picks` tries it now" in said["text"]
        run.publish(RootFound, root="/share")
        run.publish(events.RunResumed)
        run.publish(session_events.StageReleased, **held, reason="an attempt went well")
        assert status()["stands_still"] == []
        assert status()["state"] == "at work"


def test_a_run_that_ended__is_told_from_one_that_was_killed(run: Bus, tmp_path: Path, status: Status) -> None:
    with at_work(tmp_path):
        pass
    said = status()
    assert said["state"] == "nobody at work"
    assert f"whoever was (process {os.getpid()} on " in said["because"]
    assert "gone without a word" in said["because"]
    assert said["tasks"] == {"ctf": {"interrupted": 1}}
    run.publish(events.RunFinished, reason="closed")
    assert status()["state"] == "ended"
    run.publish(session_events.RunHeld, who="anna")  # by somebody, while nobody is at work
    run.publish(events.StageRetried, stage_id="ctf", item_id="a")
    said = status()
    assert (said["state"], bool(said["paused"])) == ("ended", True)
    assert "in good order at " in said["text"]


def test_a_cancelled_run__says_by_whom(run: Bus, status: Status) -> None:
    run.publish(session_events.RunCancelled, who="anna")
    run.publish(events.RunFinished, reason="closed")
    said = status()
    assert said["state"] == "ended"
    assert "cancelled by anna at " in said["because"]


def test_many_that_were_given_up__do_not_flood_the_screen(
    run: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [
        run.make(events.StageGivenUp, stage_id="ctf", item_id=f"m{number}", key="k", reason="torn")
        for number in range(50)
    ]
    run.publish_many(made)
    capsys.readouterr()
    assert main(["status", str(tmp_path / "run")]) == 0
    told = capsys.readouterr()
    assert told.err.count("given up: ctf") == 20
    assert "30 more; `cryoframe retry` lists all" in told.err
    assert "`cryoframe retry --all`" in told.out


def test_a_configuration_that_was_never_run__is_said_with_what_begins_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "night.toml"
    path.write_text(
        '[run]\nname = "n"\nfolder = "run"\n[watch]\nfolder = "not-there-yet"\n'
        '[[stage]]\nid = "ctf"\nrun = "estimate_ctf"\nuse = "spectrum"\n',
        encoding="utf-8",
    )
    assert main(["status", str(path)]) == 2
    told = capsys.readouterr().err
    assert "night.toml has not been run yet" in told
    assert "`cryoframe watch " in told


def test_a_run_of_another_user__is_said_with_whom_to_ask_as(
    run: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise EnvironmentFault("database cannot be used now (unable to open database file)")

    monkeypatch.setattr(Database, "open", refused)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main(["status", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert "may not be looked into by this user" in told
    assert f"sudo -u {(tmp_path / 'run').owner()}" in told


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name.partition(".")[0])
def test_a_run_of_an_older_version__is_looked_into_as_it_is(
    tmp_path: Path, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.sqlite"
    path.write_bytes(gzip.decompress(sample.read_bytes()))
    before = path.read_bytes()
    assert main(["status", str(tmp_path), "--json", "--table", str(tmp_path / "t.csv")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "nobody at work"
    assert said["tasks"] == {"ctf": {"done": 2, "interrupted": 1}}
    assert len((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()) == 5
    assert path.read_bytes() == before


def test_a_retry_while_somebody_is_at_work__is_asked_of_that_process(
    run: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []

    def answer(_: Path, verb: str, *, stage: str, item: str) -> str:
        asked.append((verb, stage, item))
        return "1 queued again"

    monkeypatch.setattr("cryoframe.cli.asking.ask", answer)
    run.publish(events.StageGivenUp, stage_id="ctf", item_id="a", key="k", reason="torn")
    with at_work(tmp_path):
        assert main(["retry", str(tmp_path / "run"), "--item", "a"]) == 0
        assert main(["retry", str(tmp_path / "run"), "--item", "none of that name"]) == 0
    assert asked == [("retry", "", "a")]
    assert capsys.readouterr().out.splitlines() == ["1 queued again", "0 queued again"]


def test_what_fails_and_is_tried_again__is_said_with_the_reason(run: Bus, tmp_path: Path, status: Status) -> None:
    for name in "abcde":
        gone = {"message": f"OutOfReach: /x/{name} is out of reach (No such file or directory)", "traceback_file": ""}
        task = {"stage_id": "ctf", "item_id": name, "key": "k", "attempt": 1}
        run.publish(events.StageFailed, **task, error_class="environment", **gone)
    with at_work(tmp_path):
        said = status()
    assert "failed, and is tried again: ctf a: OutOfReach: /x/a is out of reach" in said["text"]
    assert "failed, and are tried again: 2 more" in said["text"]
    assert [item for _, item, _ in said["failed"]] == list("abcde")
    run.publish(
        events.StageFinished, stage_id="ctf", item_id="a", key="k", digest="d", seconds=1.0, cpu_s=1.0, peak_MB=1.0
    )
    assert [item for _, item, _ in status()["failed"]] == list("bcde")


def test_a_run_that_broke_off__says_by_what_and_not_that_it_ended_in_good_order(run: Bus, status: Status) -> None:
    run.publish(events.RunFinished, reason=f"{events.FAILED}StoreError: the files do not add up")
    said = status()
    assert said["state"] == "nobody at work"
    assert "broke off at" in said["because"]
    assert "StoreError: the files do not add up" in said["because"]
    assert "good order" not in said["text"]
