"""Each particle has a passport: where it was picked, what happened to it, who dropped it and why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cryoframe.data.images import ParticleStack
from cryoframe.data.tables import ParticleTable
from cryoframe.errors import InvalidInput
from cryoframe.formats import products
from cryoframe.kernel.lineage import explain
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.events import StageFinished
from cryoframe.records.journal import Journal
from cryoframe.records.provenance import job_record
from cryoframe.records.state import State
from cryoframe.records.store import Store

IDS = np.array([11, 2**63 + 5, 33], dtype=np.uint64)


class Session:
    def __init__(self, folder: Path) -> None:
        database = Database.open(folder / "state.sqlite")
        self.bus = Bus(Journal(database), "run")
        self.state, self.store = State(database), Store(folder)

    def finish(self, stage_id: str, hook: str, use: str, product: object, dropped: list[dict[str, object]]) -> None:
        key = stage_id * 10
        scratch = self.store.scratch(stage_id, key, 1)
        (scratch / "product").mkdir()
        products.save(product, scratch / "product")
        if dropped:
            (scratch / "product" / "dropped.json").write_text(json.dumps(dropped))
        plugin = {"distribution": "acme", "version": "2.1", "source_digest": "s"}
        job = job_record(hook=hook, use=use, plugin=plugin, params={}, inputs={}, seed=0, device="cpu", n_threads=1)
        done = self.store.commit(scratch, stage_id, "m1", key, job=job)
        facts = {"seconds": 1.0, "cpu_s": 1.0, "peak_MB": 1.0}
        self.bus.publish(StageFinished, stage_id=stage_id, item_id="m1", key=key, digest=done.digest, **facts)


def picks(ids: np.ndarray) -> ParticleTable:
    n_rows = len(ids)
    return ParticleTable.from_columns({
        "particle_id": ids, "micrograph_id": ["m1"] * n_rows, "optics_group": ["g"] * n_rows,
        "half": np.ones(n_rows, np.uint8), "x_A": np.arange(n_rows, dtype=np.float32) + 10,
        "y_A": np.arange(n_rows, dtype=np.float32) + 20, "figure_of_merit": np.ones(n_rows, np.float32),
    })  # fmt: skip


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(tmp_path)
    # Names chosen so that neither alphabet nor time gives the order of the beam.
    drop = {"particle_id": [int(IDS[1]), 99], "reason": "too near the edge", "value": [3.5, 0.0], "threshold": 8.0}
    stack = ParticleStack(np.zeros((2, 8, 8), np.float32), picks(IDS[[0, 2]]), 1.5)
    session.finish("a-box", "extract_particles", "box", stack, [drop])
    session.finish("z-pick", "pick_particles", "blob", picks(IDS), [])
    return session


def test_a_kept_particle__has_a_stamp_of_each_stage_in_beam_order(session: Session) -> None:
    passport = explain(session.state, session.store, int(IDS[0]))
    assert (passport.micrograph_id, passport.x_A, passport.y_A) == ("m1", 10.0, 20.0)
    assert [(s.stage_id, s.use, s.plugin, s.fate) for s in passport.stamps] == [
        ("z-pick", "blob", "acme 2.1", "picked"),
        ("a-box", "box", "acme 2.1", "kept"),
    ]
    assert not passport.dropped
    assert passport.stamps[0].row["figure_of_merit"] == 1.0


def test_a_dropped_particle__says_who_why_value_and_threshold(session: Session) -> None:
    passport = explain(session.state, session.store, int(IDS[1]))
    assert passport.dropped
    last = passport.stamps[-1]
    assert (last.stage_id, last.fate, last.reason, last.value, last.threshold) == (
        "a-box", "dropped", "too near the edge", 3.5, 8.0,
    )  # fmt: skip


def test_a_particle_nobody_knows__is_refused(session: Session) -> None:
    with pytest.raises(InvalidInput, match="knows particle 5"):
        explain(session.state, session.store, 5)
