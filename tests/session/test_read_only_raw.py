"""A session whose raw data lie on a read-only mount, and one in which every system call below them is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "watch"))

from watched_session import Watched, admitted, finished

from cryoframe.records.events import FileRejected


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting read-only needs root")
def test_a_session_on_a_read_only_mount__does_all_its_work(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.configure()
    for number in range(10):
        watched.put(f"deep/{number}.mrc", float(number))
    for options in (["--bind"], ["-o", "remount,bind,ro"]):
        tried = subprocess.run(["mount", *options, watched.land, watched.land], capture_output=True, check=False)
        if tried.returncode:
            pytest.skip(f"mounting is not allowed here: {tried.stderr.decode().strip()}")
    try:
        with pytest.raises(OSError, match="Read-only"):
            (watched.land / "x").touch()
        events = watched.session()
    finally:
        subprocess.run(["umount", "-l", watched.land], check=True)
    assert sorted(admitted(events)) == [f"deep/{number}.mrc" for number in range(10)]
    assert set(finished(events).values()) == {1}
    assert not [event for event in events if isinstance(event, FileRejected)]
