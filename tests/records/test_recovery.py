"""A random history of work, deaths and rebuildings against the real journal and store agrees with a plain model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cryoframe.data.images import CtfFit
from cryoframe.formats import products
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import ProductSaved, RunOpened, StageFailed, StageFinished, StageQueued, StageStarted
from cryoframe.records.journal import Journal
from cryoframe.records.state import State
from cryoframe.records.store import Store

ITEMS = st.sampled_from(["a", "b", "c", "d"])


class Recovery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.statuses: dict[str, tuple[str, int]] = {}
        self.started_in: dict[str, int] = {}
        self.stored: set[str] = set()
        self.scratch: dict[str, Path] = {}
        self.incarnation = 0

    @initialize()
    def open(self) -> None:
        self.database = Database.open(self.folder / "state.sqlite")
        self.journal = Journal(self.database)
        self.bus, self.state, self.store = Bus(self.journal, "run"), State(self.database), Store(self.folder)
        self.bus.publish(RunOpened, folder="f", config_digest="d")
        self.incarnation += 1

    @rule()
    def die_and_come_back(self) -> None:
        self.database.close()
        self.open()
        assert self.store.sweep() == len(self.scratch)
        self.scratch.clear()

    @rule(item=ITEMS)
    def queue(self, item: str) -> None:
        self.bus.publish(StageQueued, stage_id="s", item_id=item, key=f"key-{item}")
        self.statuses[item] = ("queued", self.statuses.get(item, ("", 0))[1])

    @rule(item=ITEMS)
    def start(self, item: str) -> None:
        attempt = self.statuses.get(item, ("", 0))[1] + 1
        facts = {"attempt": attempt, "worker": "w", "device": "cpu"}
        self.bus.publish(StageStarted, stage_id="s", item_id=item, key=f"key-{item}", **facts)
        self.statuses[item], self.started_in[item] = ("running", attempt), self.incarnation
        if item not in self.scratch:
            self.scratch[item] = self.store.scratch("s", f"key-{item}", attempt)

    @rule(item=ITEMS)
    def fail(self, item: str) -> None:
        attempt = self.statuses.get(item, ("", 0))[1]
        facts = {"attempt": attempt, "error_class": "bug", "message": "m", "traceback_file": ""}
        self.bus.publish(StageFailed, stage_id="s", item_id=item, key=f"key-{item}", **facts)
        self.statuses[item] = ("failed", attempt)

    @rule(item=ITEMS, told=st.booleans())
    def finish(self, item: str, told: bool) -> None:
        """Commit; `told` false is a death between the commit and its event."""
        if item not in self.scratch:
            return
        scratch = self.scratch.pop(item)
        (scratch / "product").mkdir()
        products.save(CtfFit(item, 2.0, 1.0, 0.0), scratch / "product")
        done = self.store.commit(scratch, "s", item, f"key-{item}", job={})
        assert done.reused is (item in self.stored)
        self.stored.add(item)
        if told:
            self.publish_finished(item, done.digest)

    def publish_finished(self, item: str, digest: str) -> None:
        key, spent = f"key-{item}", {"seconds": 0.0, "cpu_s": 0.0, "peak_MB": 0.0}
        saved = self.bus.make(ProductSaved, key=key, kind="CtfFit", digest=digest, path=f"stages/s/{key}")
        finished = self.bus.make(
            StageFinished, saved.event_id, stage_id="s", item_id=item, key=key, digest=digest, **spent
        )
        self.bus.publish_many([saved, finished])
        self.statuses[item] = ("done", self.statuses.get(item, ("", 0))[1])

    @rule()
    def rebuild(self) -> None:
        self.journal.rebuild()

    @invariant()
    def state_is_the_model(self) -> None:
        if not self.incarnation:
            return
        assert {task.item_id: (task.status, task.attempts) for task in self.state.tasks()} == self.statuses
        interrupted = {
            i for i, s in self.statuses.items() if s[0] == "running" and self.started_in[i] < self.incarnation
        }
        assert {task.item_id for task in self.state.interrupted()} == interrupted

    @invariant()
    def store_is_the_model(self) -> None:
        if not self.incarnation:
            return
        assert {item for item in "abcd" if self.store.has("s", f"key-{item}")} == self.stored
        assert self.store.verify() == []
        for task in self.state.tasks(status="done"):
            assert self.store.job("s", task.key)["digest"] == task.digest

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)


Recovery.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None, derandomize=True)
test_a_random_history__agrees_with_the_model = Recovery.TestCase
