"""The verbs that ask a daemon at work, from the command line to what the journal and the next process make of it."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
from watched_session import Watched, drive, wait_for

from cryoframe.cli.main import main


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_daemon__is_paused_resumed_backed_up_and_cancelled(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(watched.folder / "run")
    process = drive(watched)
    assert process.stdout is not None
    process.stdout.readline()
    assert _said(capsys, "pause", folder)["said"].startswith("paused by ")
    watched.put("a.mrc", 1.0)
    wait_for(lambda: _said(capsys, "status", folder)["files"] == {"settled": 1})
    time.sleep(0.5)
    status = _said(capsys, "status", folder)
    assert status["tasks"] == {"ctf": {"queued": 1}}
    assert status["paused"]
    assert _said(capsys, "resume", folder)["said"] == "the run goes on"
    wait_for(lambda: _said(capsys, "status", folder)["tasks"] == {"ctf": {"done": 1}})
    copy = _said(capsys, "backup", folder)
    assert sqlite3.connect(copy["path"]).execute("SELECT count(*) FROM events WHERE seq>0").fetchone() == (
        copy["events"],
    )
    assert "the process ends" in _said(capsys, "cancel", folder)["said"]
    assert process.wait(20.0) == 0
    process.stdout.close()
    assert main(["cancel", folder]) == 2
    assert _said(capsys, "pause", folder)["said"].endswith("nobody is at work")
    assert _said(capsys, "resume", folder)["said"].startswith("the pause is over")
