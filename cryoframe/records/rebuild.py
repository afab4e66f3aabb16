"""Mending a run's state from its log, or from the rest of the log and the products in the store. Deletes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryoframe.errors import Corrupt, StoreError
from cryoframe.records.bus import Bus
from cryoframe.records.database import DamagedDatabase, Database
from cryoframe.records.events import Event, ProductDescribed, ProductSaved, StageSkipped
from cryoframe.records.journal import Journal
from cryoframe.records.state import State
from cryoframe.records.store import Store
from cryoframe.records.summaries import payload

DATABASE = "state.sqlite"


@dataclass(frozen=True)
class Rebuilt:
    """What came of it: events in the log, products the log had lost, and where a damaged database was put.

    `n_unreadable` counts the events that could not be read; they are where the database was put.
    """

    n_events: int
    n_adopted: int
    set_aside: Path | None
    n_unreadable: int = 0


def rebuild(folder: Path) -> Rebuilt:
    """Make the state of a run folder anew; nobody may be in charge of the folder.

    Files whose admission is lost with the log are admitted again by the next run; their products are in the store,
    so nothing is computed twice.

    Raises
    ------
    StoreError
        If the database is on a network file system or of a newer version; then nothing was changed.
    """
    path, aside, n_lost = folder / DATABASE, None, 0
    try:
        database = Database.open(path)
        journal = Journal(database)
        n_events = _refold(database, journal)
    except (DamagedDatabase, Corrupt):
        aside = _set_aside(path)
        database = Database.open(path)
        journal = Journal(database)
        n_events, n_lost = journal.take_over(aside)
    n_adopted = _adopt(Store(folder), State(database), Bus(journal, folder.resolve().name))
    database.close()
    return Rebuilt(n_events, n_adopted, aside, n_lost)


def _refold(database: Database, journal: Journal) -> int:
    try:
        return journal.rebuild()
    except BaseException:
        database.close()
        raise


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    aside = path.with_name(f"damaged-{stamp}-{path.name}")
    for suffix in ("", "-wal", "-shm"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            os.replace(source, f"{aside}{suffix}")  # noqa: PTH105 - suffixes are added to whole names
    return aside


def _adopt(store: Store, state: State, bus: Bus) -> int:
    """Tell the log of products it does not know; one that is damaged is left to `cryoframe status --verify`."""
    made: list[Event] = []
    for folder in sorted((store.folder / "stages").glob("*/*")):
        try:
            job = store.job(folder.parent.name, folder.name)
        except StoreError:
            continue
        key, stage_id, item_id, digest = (str(job[name]) for name in ("key", "stage_id", "item_id", "digest"))
        if state.product(key) is None:
            place = str(folder.relative_to(store.folder))
            made.append(bus.make(ProductSaved, key=key, kind=str(job["kind"]), digest=digest, path=place))
            if (said := payload(job, place)) is not None:
                made.append(bus.make(ProductDescribed, **said))
        task = state.task(stage_id, item_id)
        if not job.get("so_far") and (task is None or (task.key == key and task.status != "done")):
            where = {"stage_id": stage_id, "item_id": item_id, "key": key, "digest": digest}
            made.append(bus.make(StageSkipped, **where, reason="found in the store when the state was rebuilt"))
    bus.publish_many(made)
    return sum(isinstance(event, ProductSaved) for event in made)
