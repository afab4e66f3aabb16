"""The table that is kept row by row equals the one made of the whole log, whatever happened, from whatever process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoframe.data.tables import ExposureTable
from cryoframe.execution import exposure_table
from cryoframe.execution.exposure_table import Kept, whole
from cryoframe.execution.exposures import TABLE, exposures
from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import Journal
from cryoframe.records.state import State

ROOTS = ("/share/a", "/share/a/b", "/z")


class Session:
    """Says at random what a session may say of a few files."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.database = Database.open(folder / "state.sqlite")
        self.bus = Bus(Journal(self.database), "night")
        self._chance = random.Random(seed)

    def happen(self, n_events: int) -> None:
        """Publish so many events."""
        self.bus.publish_many([next(self._event()) for _ in range(n_events)])

    def _event(self) -> Iterator[events.Event]:
        chance, make = self._chance, self.bus.make
        name = f"m{chance.randrange(8)}\udce9.mrc"
        where = {"path": name, "root": chance.choice(ROOTS)}
        task = {"stage_id": chance.choice(("motion", "ctf")), "item_id": name, "key": "k"}
        kind = chance.randrange(11)
        if kind == 0:
            yield make(events.FileSeen, **where, size=1, mtime_ns=1, ctime_ns=1)
        elif kind == 1:
            yield make(events.FileRejected, **where, reason=f"torn {chance.random()}", kind="Truncated")
        elif kind == 2:
            yield make(events.FileSettled, **where, size=1, mtime_ns=1, digest="d", ctime_ns=1)
        elif kind in (3, 4):
            facts = {"n_frames": chance.randrange(9)}
            path = f"{where['root']}/{name}"
            kinds = chance.choice(("Movie", "Micrograph", "Particles"))
            yield make(events.ItemAdmitted, item_id=name, kind=kinds, digest="d", path=path, facts=facts)
        elif kind == 5:
            yield make(events.StageQueued, **task)
        elif kind == 6:
            yield make(events.StageFinished, **task, digest="d", seconds=1.0, cpu_s=1.0, peak_MB=1.0)
        elif kind == 7:
            yield make(events.StageGivenUp, **task, reason="torn")
        elif kind == 8:
            yield make(events.ItemRemarked, item_id=name, remark=f"look {chance.randrange(3)}")
        elif kind == 9:
            yield make(events.StageRetried, stage_id=task["stage_id"], item_id=name)
        else:
            figures = {"defocus_u_A": float(chance.randrange(9))}
            said = {**task, "kind": "CtfFit", "path": f"stages/{chance.randrange(9)}", "pictures": {"ctf.png": "d"}}
            yield make(events.ProductDescribed, **said, figures=figures)


def by_name(table: ExposureTable) -> list[dict[str, object]]:
    """Return the rows in an order of their own: two of one path have none."""
    return sorted(table.rows(), key=lambda row: (str(row["path"]), str(row["micrograph_id"])))


@pytest.mark.parametrize("seed", range(4))
def test_rows_made_one_by_one__equal_those_of_the_whole_log(tmp_path: Path, seed: int) -> None:
    session = Session(tmp_path, seed)
    chance = random.Random(seed)
    kept = Kept(tmp_path / TABLE)
    n_gone_on = 0
    for _ in range(15):
        session.happen(chance.randrange(1, 20))
        if chance.random() < 0.3:  # another process goes on from the file
            kept = Kept(tmp_path / TABLE)
            n_gone_on += (tmp_path / TABLE).is_file()
        kept.update(session.database)
        if chance.random() < 0.3:
            kept.write()
        expected = exposures(State(session.database))
        assert by_name(kept.table) == by_name(expected)
        assert by_name(whole(session.database)) == by_name(expected)
    assert n_gone_on
    kept.write()
    assert by_name(ExposureTable.read(tmp_path / TABLE)) == by_name(expected)
    session.database.close()


def test_nothing_new__changes_nothing_and_asks_for_no_writing(tmp_path: Path) -> None:
    session = Session(tmp_path, 3)
    session.happen(60)
    kept = Kept(tmp_path / TABLE)
    assert kept.update(session.database)
    kept.write()
    session.bus.publish(events.MetricReported, stage_id="s", item_id="i", name="n", value=1.0, unit="")
    assert not kept.update(session.database)
    assert not kept.is_due
    assert not Kept(tmp_path / TABLE).is_due
    session.database.close()


def test_a_table_of_other_code__of_another_log_or_torn__is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, 4)
    session.happen(80)
    first = Kept(tmp_path / TABLE)
    first.update(session.database)
    first.write()
    (tmp_path / "other").mkdir()
    other = Session(tmp_path / "other", 5)
    other.happen(40)
    kept = Kept(tmp_path / TABLE)
    assert kept.update(other.database)
    assert by_name(kept.table) == by_name(exposures(State(other.database)))
    monkeypatch.setattr(exposure_table, "made_by", lambda: b"a later version")
    assert Kept(tmp_path / TABLE).is_due
    monkeypatch.undo()
    whole_file = (tmp_path / TABLE).read_bytes()
    for n_bytes in (0, 7, len(whole_file) // 2, len(whole_file) - 1):
        (tmp_path / TABLE).write_bytes(whole_file[:n_bytes])
        kept = Kept(tmp_path / TABLE)
        assert kept.update(session.database)
        assert by_name(kept.table) == by_name(exposures(State(session.database)))
    for one in (session, other):
        one.database.close()


def test_the_file__is_read_by_pandas_and_pyarrow_as_it_is(tmp_path: Path) -> None:
    from pyarrow import feather, ipc

    session = Session(tmp_path, 6)
    session.happen(80)
    kept = Kept(tmp_path / TABLE)
    kept.update(session.database)
    kept.write()
    with ipc.open_file(tmp_path / TABLE) as opened:
        assert opened.read_all().num_rows == len(kept.table)
    assert feather.read_table(tmp_path / TABLE).num_rows == len(kept.table)
    assert [row["path"] for row in kept.table.rows()] == sorted(str(row["path"]) for row in kept.table.rows())
    session.database.close()


def test_the_latest_rows__are_those_that_landed_last(tmp_path: Path) -> None:
    kept = Kept(tmp_path / TABLE)
    rows = [
        {
            "micrograph_id": f"m{minute}",
            "path": f"/m{minute}",
            "status": "done",
            "landed_utc": f"2026-01-05T08:{minute:02}",
        }
        for minute in (4, 2, 9, 7)
    ]
    kept.table = ExposureTable.from_rows([*rows, {"micrograph_id": "x", "path": "/x", "status": "waiting"}])
    assert [row["micrograph_id"] for row in kept.latest(3)] == ["m9", "m7", "m4"]
    assert [row["micrograph_id"] for row in kept.latest(9)] == ["m9", "m7", "m4", "m2", "x"]
