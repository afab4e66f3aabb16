"""A reload while something is still unsaid, and a session that is to end though files are gone (simulator)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoframe.errors import EnvironmentFault
from cryoframe.execution.run import Run
from cryoframe.execution.runner import Runner
from cryoframe.records.bus import Bus
from cryoframe.testing.soak.facility import Facility


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    inputs = '[micrographs]\nfiles = "land/*.dat"\npixel_size_A = 1.0'
    facility = Facility(tmp_path, watch=None, inputs=inputs).write()
    facility.put("a.dat", 1)
    with Run.open(facility.config) as opened:
        yield opened


def _names(run: Run) -> Counter[str]:
    return Counter(type(event).__name__ for event in run.journal.replay())


def _to_its_end(runner: Runner) -> None:
    while runner.step(0.0):
        pass


def test_a_reload_after_a_refusal_of_the_disk__begins_nothing_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = run.runner(live=True)
    run.admit_inputs()

    def refuse(*_: object) -> None:
        raise EnvironmentFault("no room")

    with monkeypatch.context() as full:
        full.setattr(Bus, "publish_many", refuse)
        with pytest.raises(EnvironmentFault):
            runner.step(0.0)
        with pytest.raises(EnvironmentFault):
            run.reload()
    assert run.reload() == "nothing differs"
    _to_its_end(runner)
    found = _names(run)
    assert [found[f"Stage{name}"] for name in ("Queued", "Started", "Finished", "Skipped")] == [1, 1, 1, 0]


def test_what_waits_for_files_that_are_gone__waits_in_vain_after_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = run.runner(live=True)
    monkeypatch.setattr(runner, "_backoff_s", 1e-4)
    run.admit_inputs()
    (item,) = run.state.items()
    Path(item.path).unlink()
    n_steps = next(n for n in range(1, 1000) if (runner.step(0.0) or True) and runner.waits_in_vain)
    assert _names(run)["StageFailed"] >= 8, n_steps
    assert not _names(run)["StageGivenUp"]
