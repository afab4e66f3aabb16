"""Too few watches, no watch at all, an observer that dies: hints are lost, files are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from watched_session import Watched, admitted, finished, wait_for

from cryoframe.execution.run import Run
from cryoframe.watch import wakeup
from cryoframe.watch.wakeup import Wakeup

#: Watches until idle, lands files in folders of their own once at work; says what the observer had to say.
SCRIPT = """\
import json, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from watched_session import Watched, wait_for
from cryoframe.watch import wakeup
notes = []
tend = wakeup.Wakeup.tend
def heard(self):
    tend(self)
    notes.append(self.note)
wakeup.Wakeup.tend = heard
watched = Watched(Path(sys.argv[1]))
def land():
    wait_for(lambda: bool(watched.ticks))
    for number in range(int(sys.argv[3])):
        watched.put(f"{number:03d}/{number}.mrc", float(number))
watched.session_with(land, 4.0)
print(json.dumps(notes))
"""


def _limited(watched: Watched, limit: str, n_files: int) -> list[str]:
    """Watch in a user namespace, where a limit of inotify can be lowered for that session alone."""
    lower = f'echo {limit.split("=")[1]} > /proc/sys/user/{limit.split("=")[0]} && exec "$@"'
    command = ["unshare", "-Ur", "sh", "-c", lower, "sh"]
    try:
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if tried.returncode:
        pytest.skip(f"no limits of inotify of one's own here: {tried.stderr.strip()}")
    words = [sys.executable, "-c", SCRIPT, str(watched.folder), str(Path(__file__).parent), str(n_files)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [str(note) for note in json.loads(done.stdout.splitlines()[-1])]


def _all_done_once(watched: Watched, n_files: int) -> None:
    with Run.open(watched.folder / "run.toml") as run:
        events = list(run.journal.replay())
    wanted = sorted(f"{number:03d}/{number}.mrc" for number in range(n_files))
    assert sorted(admitted(events)) == wanted
    assert finished(events) == Counter({("ctf", name): 1 for name in wanted})


def test_thirty_watches_for_a_hundred_folders__all_files_are_found_by_the_rescan(watched: Watched) -> None:
    watched.configure(poll_s=0.4, observer="native")
    for number in range(60):
        (watched.land / f"{number:03d}").mkdir()
    notes = _limited(watched, "max_inotify_watches=30", 100)
    _all_done_once(watched, 100)
    assert any("limit of watches" in note for note in notes)


@pytest.mark.parametrize("n_instances", [0, 1])
def test_no_instance_left__the_session_starts_and_polls(watched: Watched, n_instances: int) -> None:
    watched.configure(poll_s=0.3, observer="native")
    notes = _limited(watched, f"max_inotify_instances={n_instances}", 10)
    _all_done_once(watched, 10)
    if not n_instances:
        assert any("polling only" in note and "inotify" in note for note in notes)


def test_an_observer_that_dies_of_an_exception__is_started_anew_and_nothing_is_missed(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Wakeup] = []
    observers: list[object] = []
    monkeypatch.setattr(sys.modules["threading"], "excepthook", lambda _: None)
    init, tend = Wakeup.__init__, Wakeup.tend

    def remember(self: Wakeup, *words: object, **more: object) -> None:
        init(self, *words, **more)  # type: ignore[arg-type]
        made.append(self)

    def count(self: Wakeup) -> None:
        tend(self)
        if self._observer is not None and self._observer not in observers:
            observers.append(self._observer)

    def die(self: object, event: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(Wakeup, "__init__", remember)
    monkeypatch.setattr(Wakeup, "tend", count)
    monkeypatch.setattr(wakeup._Raise, "on_any_event", die)
    watched.configure(poll_s=0.2, observer="native")

    def land() -> None:
        wait_for(lambda: bool(watched.ticks))
        for number in range(20):
            watched.put(f"{number:03d}/{number}.mrc", float(number))
            if number == 10:
                wait_for(lambda: len(observers) > 1)

    watched.session_with(land, 4.0)
    _all_done_once(watched, 20)
    assert len(made) == 1
    assert len(observers) > 1, "it was started anew"
