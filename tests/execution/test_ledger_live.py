"""What a session costs as it grows: a stage over the set is not looked at for every item that ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import World

from cryoframe.execution.known import DONE, Known, KnownTasks
from cryoframe.execution.ledger import Ledger
from cryoframe.kernel.plan import Node

pytestmark = pytest.mark.usefixtures("no_discovery")
STAGES = ("ctf", "pick", "box", "classes")


@pytest.mark.parametrize(("every", "n_listed", "n_runs"), [(4, 4, 3), (0, 1, 0)])
def test_a_live_stage_over_the_set__lists_its_items_when_there_are_enough_and_else_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, n_listed: int, n_runs: int
) -> None:
    listed, sizes = [], []
    parts = Ledger._parts

    def counted(self: Ledger, node: Node, *given: object, **more: object) -> list[object]:
        found = parts(self, node, *given, **more)  # type: ignore[arg-type]
        if node.id == "classes":
            listed.append(len(found))
        return found  # type: ignore[return-value]

    monkeypatch.setattr(Ledger, "_parts", counted)
    world = World(tmp_path, stages=STAGES, n_micrographs=12, extra={"classes": f"every = {every}"}, workers=1)
    with world.open() as run:
        runner = run.runner(live=True)
        for path in sorted(world.raw.glob("*.mrc")):
            run.admit_file(path, "Micrograph")
            while runner.step(0.0) and runner.running():
                sizes.append(run.state.task_counts())
        runner.run_until_idle()
        finished = [event for event in run.journal.replay() if type(event).__name__ == "StageFinished"]
        assert run.state.task_counts()["box"] == {"done": 12}
    assert sum(event.stage_id == "classes" for event in finished) == n_runs  # type: ignore[attr-defined]
    assert len([size for size in listed if size]) <= 2 * n_listed


def test_the_count_of_done_tasks__follows_every_change() -> None:
    known = KnownTasks()
    for status in (DONE, DONE, "waiting", DONE, "queued"):
        known["ctf", "a"] = Known("k", status)
        assert known.n_done["ctf"] == (status == DONE)
    known["ctf", "b"] = Known("k", DONE)
    known.forget("ctf", "b")
    known.forget("ctf", "never")
    assert known.n_done["ctf"] == 0
