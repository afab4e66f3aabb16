"""Writes the journal that is kept as a sample of the present version: ``python tests/records/journal_sample.py``."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

from cryoframe.records import events
from cryoframe.records.bus import Bus
from cryoframe.records.database import Database
from cryoframe.records.journal import VERSION, Journal

SAMPLES = Path(__file__).resolve().parents[1] / "recorded" / "journals"


def write(path: Path) -> None:
    """Write 24 events of three files, one of which is still worked on, and of one that was rejected."""
    database = Database.open(path)
    bus = Bus(Journal(database), "run")
    bus.publish(events.RunOpened, folder="/run", config_digest="c")
    for number in range(3):
        name, digest, key = f"{number}.mrc", f"{number:040x}", f"{number + 100:040x}"
        task = {"stage_id": "ctf", "item_id": name}
        facts = {"path": name, "root": "/raw", "size": 10, "mtime_ns": 5 + number, "ctime_ns": 9}
        bus.publish(events.FileSeen, **facts)
        bus.publish(events.FileSettled, **facts, digest=digest)
        bus.publish(
            events.ItemAdmitted, item_id=name, kind="Micrograph", digest=digest, path=f"/raw/{name}", facts={}
        )  # fmt: skip
        bus.publish(events.StageQueued, **task, key=key)
        bus.publish(events.StageStarted, **task, key=key, attempt=1, worker="w", device="cpu")
        bus.publish(events.MetricReported, **task, name="mean", value=1.5, unit="A")
        if number < 2:
            product = f"{number + 200:040x}"
            bus.publish(events.ProductSaved, key=key, kind="CtfFit", digest=product, path=f"stages/ctf/{key}")
            bus.publish(events.StageFinished, **task, key=key, digest=product, seconds=1.0, cpu_s=1.0, peak_MB=1.0)
    bus.publish(events.FileRejected, path="bad.mrc", root="/raw", reason="cut", kind="Incomplete")
    database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "state.sqlite")
        packed = gzip.compress((Path(folder) / "state.sqlite").read_bytes(), 9, mtime=0)
    (SAMPLES / f"v{VERSION}.sqlite.gz").write_bytes(packed)
