"""What people ask of a run: obeyed by the process in charge, journalled, kept over a restart, for it alone."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from run_world import World, names

from cryoframe.execution.control import FOLDER, Request, answer, ask
from cryoframe.records.backup import backup
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.session_events import RunCancelled, RunHeld

pytestmark = pytest.mark.usefixtures("no_discovery")


def _asked(run: object, verb: str, **more: str) -> tuple[bool, str] | None:
    place = ask(run.folder, Request(verb, "anna", **more))  # type: ignore[attr-defined]
    run._desk._next_s = 0.0  # type: ignore[attr-defined]
    run._desk.look()  # type: ignore[attr-defined]
    return answer(place, 2.0)


def test_a_paused_run__starts_nothing_not_even_the_next_process_until_it_is_resumed(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.open() as run:
        run.runner()
        run.admit_inputs()
        ok, said = _asked(run, "pause") or (False, "")
        assert ok
        assert said.startswith("paused by anna at ")
        assert all(run.runner().step(0.001) for _ in range(5))
        assert "StageStarted" not in names(run)
    with world.open() as run:
        run.runner()
        run.admit_inputs()
        assert all(run.runner().step(0.001) for _ in range(5))
        assert run.status()["paused"]
        assert "StageStarted" not in names(run)
        assert _asked(run, "resume") == (True, "the run goes on")
        run.runner().run_until_idle()
        assert run.state.task_counts()["pick"] == {"done": 3}
        assert names(run).count("RunHeld") == names(run).count("RunReleased") == 1
        assert _asked(run, "resume") == (True, "nothing was paused")


def test_a_cancelled_run__ends_and_the_next_one_finishes_it(tmp_path: Path) -> None:
    world = World(tmp_path, executor="processes", body={"ctf": "time.sleep(0 if (Path(ctx.workdir).parents[3] / 'go')"
                                                        ".exists() else 600)"})  # fmt: skip
    with world.open() as run:
        runner = run.runner()
        run.admit_inputs()
        while not runner.running():
            runner.step(0.01)
        holder = run._desk._holder
        assert _asked(run, "cancel", holder="process 1 on elsewhere") is None, "it was meant for another process"
        assert not runner.stopping
        ok, said = _asked(run, "cancel", holder=holder) or (False, "")
        assert ok
        assert said.startswith("2 attempts are stopped")
        runner.run_until_idle()
        assert isinstance(run.journal.last("RunCancelled"), RunCancelled)
    (tmp_path / "go").touch()
    world.body = {}
    assert world.execute()["pick"] == {"done": 3}


def test_requests__are_for_who_may_write_the_folder_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        place = ask(tmp_path, Request("pause", "anna"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700
    files = list(place.parent.glob("*.request"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600]


def test_nonsense_in_the_folder__is_taken_away_and_harms_nothing(tmp_path: Path) -> None:
    with World(tmp_path).open() as run:
        place = run.folder / FOLDER
        place.mkdir()
        for number, text in enumerate(("", "{", "[]", '{"verb": "explode"}', '{"verb": 7}', "\0" * 10)):
            (place / f"{number}.request").write_text(text)
        run._desk.look()
        assert not list(place.glob("*.request"))
        assert _asked(run, "pause") == (False, "the run has not begun its work. Ask again in a moment.")
    assert not (place / "x").exists()


def test_a_backup__taken_while_events_are_written_holds_a_whole_prefix(tmp_path: Path) -> None:
    with World(tmp_path, n_micrographs=1).open() as run:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                run.bus.publish(RunHeld, who="somebody")

        thread = threading.Thread(target=write)
        thread.start()
        try:
            while len(names(run)) < 5:
                pass
            acknowledged = run.journal.last_id()
            done = backup(run.folder / "state.sqlite", tmp_path / "copy.sqlite")
        finally:
            stop.set()
            thread.join()
        written = [event.event_id for event in run.journal.replay()]
    copy = Database.open(tmp_path / "copy.sqlite")
    kept = [event.event_id for event in Journal(copy).replay()]
    copy.close()
    assert kept == written[: len(kept)]
    assert done.last_event_id == kept[-1] >= acknowledged
    assert done.n_events == len(kept)
    assert not list(tmp_path.glob(".copy*"))
