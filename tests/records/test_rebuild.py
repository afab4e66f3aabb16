"""A damaged state is made anew from what is left, and nothing is deleted or computed twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoframe.data.images import CtfFit
from cryoframe.errors import StoreError
from cryoframe.formats import products
from cryoframe.records.bus import Bus
from cryoframe.records.database import DamagedDatabase, Database
from cryoframe.records.events import ItemAdmitted, ProductSaved, StageFinished
from cryoframe.records.journal import Journal
from cryoframe.records.rebuild import rebuild
from cryoframe.records.state import State
from cryoframe.records.store import Store

N_ITEMS = 40


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    database = Database.open(tmp_path / "state.sqlite")
    bus, store = Bus(Journal(database), "run"), Store(tmp_path)
    for number in range(N_ITEMS):
        item_id, key = f"{number:03d}.mrc", f"{number:040x}"
        bus.publish(ItemAdmitted, item_id=item_id, kind="Micrograph", digest=key, path=f"/{item_id}", facts={})
        scratch = store.scratch("ctf", key, 1)
        (scratch / "product").mkdir()
        products.save(CtfFit(item_id, 2.0, 1.0, 0.0), scratch / "product")
        done = store.commit(scratch, "ctf", item_id, key, job={"note": "x" * 2000})
        bus.publish(ProductSaved, key=key, kind=done.kind, digest=done.digest, path=f"stages/ctf/{key}")
        spent = {"seconds": 0.0, "cpu_s": 0.0, "peak_MB": 0.0}
        bus.publish(StageFinished, stage_id="ctf", item_id=item_id, key=key, digest=done.digest, **spent)
    database.close()
    return tmp_path


def look(folder: Path) -> tuple[list[object], list[object], list[object]]:
    database = Database.open(folder / "state.sqlite")
    state = State(database)
    tasks = [(task.item_id, task.key, task.status, task.digest) for task in state.tasks("ctf")]
    found = ([item.item_id for item in state.items()], tasks, [state.product(task.key) for task in state.tasks()])
    database.close()
    return found  # type: ignore[return-value]


def test_a_whole_database__is_refolded_and_unchanged(run_folder: Path) -> None:
    before = look(run_folder)
    done = rebuild(run_folder)
    assert (done.n_events, done.n_adopted, done.set_aside) == (3 * N_ITEMS, 0, None)
    assert look(run_folder) == before


@pytest.mark.parametrize("from_frac", [0.0, 0.3, 0.6, 0.9])
def test_a_damaged_database__is_put_aside_and_all_products_are_known_again(run_folder: Path, from_frac: float) -> None:
    _, tasks, saved = look(run_folder)
    path = run_folder / "state.sqlite"
    content = bytearray(path.read_bytes())
    begin = int(len(content) * from_frac) // 4096 * 4096
    content[begin:] = b"\xa5" * (len(content) - begin)
    path.write_bytes(content)
    with pytest.raises(DamagedDatabase, match="cryoframe rebuild"):
        Database.open(path)
    done = rebuild(run_folder)
    assert done.set_aside is not None
    assert done.set_aside.read_bytes()[begin:] == bytes(content[begin:])
    assert look(run_folder)[1:] == (tasks, saved)
    assert Store(run_folder).verify() == []
    again = rebuild(run_folder)
    assert (again.n_adopted, again.set_aside) == (0, None)


def test_a_lost_database__is_made_from_the_store(run_folder: Path) -> None:
    _, tasks, saved = look(run_folder)
    (run_folder / "state.sqlite").unlink()
    assert rebuild(run_folder).n_adopted == N_ITEMS
    assert look(run_folder)[1:] == (tasks, saved)


def test_a_damaged_product__is_not_adopted(run_folder: Path) -> None:
    (run_folder / "state.sqlite").unlink()
    job = run_folder / "stages" / "ctf" / f"{7:040x}" / "job.json"
    job.write_text(job.read_text().replace("xxx", "xyx", 1))
    assert rebuild(run_folder).n_adopted == N_ITEMS - 1


def test_a_database_of_a_newer_version__is_left_alone(run_folder: Path) -> None:
    database = Database.open(run_folder / "state.sqlite")
    with database.transaction() as write:
        write("PRAGMA user_version=99")
    database.close()
    with pytest.raises(StoreError, match="version 99"):
        rebuild(run_folder)
    assert [path.name for path in run_folder.glob("damaged-*")] == []


def test_one_event_that_cannot_be_read__takes_no_other_along(run_folder: Path) -> None:
    database = Database.open(run_folder / "state.sqlite")
    n_events = database.read("SELECT count(*) FROM events WHERE seq > 0")[0][0]
    with database.transaction() as write:
        write("UPDATE events SET content = substr(content, 1, 3) || '\"' || substr(content, 5) WHERE seq = 10")
    database.close()
    assert rebuild(run_folder).n_events == int(str(n_events)) - 1


def test_what_was_made_of_a_smaller_set__is_not_taken_for_the_task_of_the_whole(tmp_path: Path) -> None:
    Database.open(tmp_path / "state.sqlite").close()
    store = Store(tmp_path)
    for key, so_far in (("0" * 40, True), ("f" * 40, False)):
        scratch = store.scratch("classes", key, 1)
        (scratch / "product").mkdir()
        products.save(CtfFit("set", 2.0, 1.0, 0.0), scratch / "product")
        store.commit(scratch, "classes", "set", key, job={"so_far": so_far})
    rebuild(tmp_path)
    database = Database.open(tmp_path / "state.sqlite")
    task = State(database).task("classes", "set")
    database.close()
    assert task is not None
    assert task.key == "f" * 40
