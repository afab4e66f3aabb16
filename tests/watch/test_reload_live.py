"""A daemon at work has its stage swapped by a verb and by a signal; no file is lost."""

from __future__ import annotations

import json
import signal

import pytest
from watched_session import Watched, admitted, drive, wait_for

from cryoframe.cli.main import main
from cryoframe.execution.run import Run
from cryoframe.records.session_events import ConfigRefused, ConfigReloaded, StageSwapped


def _done(capsys: pytest.CaptureFixture[str], folder: str) -> int:
    capsys.readouterr()
    main(["status", folder, "--json"])
    return int(json.loads(capsys.readouterr().out)["tasks"].get("ctf", {}).get("done", 0))


@pytest.mark.slow
def test_a_live_session__has_its_stage_swapped_and_refuses_what_it_cannot_use(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    config = watched.folder / "run.toml"
    text = config.read_text()
    process = drive(watched)
    assert process.stdout is not None
    process.stdout.readline()
    folder = str(watched.folder / "run")
    watched.put("a.mrc", 1.0)
    wait_for(lambda: _done(capsys, folder) == 1)
    config.write_text(text + "params = { scale = 5.0 }\n")
    watched.put("b.mrc", 2.0)
    assert main(["reload", folder]) == 0
    assert "[[stage]] ctf" in capsys.readouterr().out
    wait_for(lambda: _done(capsys, folder) == 2)
    config.write_text(text + "params = { scale = 'much' }\n")
    assert main(["reload", folder]) == 2
    config.write_text(text + "params = { scale = 7.0 }\n")
    process.send_signal(signal.SIGHUP)
    watched.put("c.mrc", 3.0)
    wait_for(lambda: _done(capsys, folder) == 3)
    process.terminate()
    assert process.wait(20.0) == 0
    process.stdout.close()
    with Run.open(config) as run:
        events = list(run.journal.replay())
        fits = {task.item_id: run.store.load("ctf", task.key) for task in run.state.tasks("ctf", "done")}
    assert sorted(admitted(events)) == ["a.mrc", "b.mrc", "c.mrc"]
    assert {name: round(fit.defocus_v_A) for name, fit in fits.items()} == {"a.mrc": 7, "b.mrc": 14, "c.mrc": 21}  # type: ignore[attr-defined]
    kinds = [type(event) for event in events if isinstance(event, (ConfigReloaded, ConfigRefused, StageSwapped))]
    assert kinds == [ConfigReloaded, StageSwapped, ConfigRefused, ConfigReloaded, StageSwapped]
