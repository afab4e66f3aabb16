"""The passport of one particle: who picked it, what every later stage did to it, who dropped it and why. Reads only."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.data.tables import ParticleTable
from cryoframe.errors import InvalidInput
from cryoframe.kernel.stage import stage_specs

if TYPE_CHECKING:
    from cryoframe.records.state import State, Task
    from cryoframe.records.store import Store

DROPPED = Path("product") / "dropped.json"


@dataclass(frozen=True)
class Stamp:
    """What one stage did to the particle: `fate` is picked, kept or dropped."""

    stage_id: str
    item_id: str
    hook: str
    use: str
    plugin: str
    fate: str
    reason: str = ""
    value: float | None = None
    threshold: float | None = None
    #: The particle's row in the stage's table.
    row: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Passport:
    """A particle's way through the run, in the order of the beam."""

    particle_id: int
    micrograph_id: str
    x_A: float
    y_A: float
    stamps: tuple[Stamp, ...]

    @property
    def dropped(self) -> bool:
        """Whether some stage dropped the particle."""
        return any(stamp.fate == "dropped" for stamp in self.stamps)


def explain(state: State, store: Store, particle_id: int) -> Passport:
    """Follow one particle through every finished stage.

    Raises
    ------
    InvalidInput
        If no stage of the run knows the particle.
    """
    stamps = [stamp for task in state.tasks(status="done") for stamp in _stamps(store, task, particle_id)]
    order = {hook: place for place, hook in enumerate(stage_specs())}
    stamps.sort(key=lambda stamp: (order.get(stamp[0].hook, -1), stamp[1]))
    rows = [stamp.row for stamp, _ in stamps if stamp.row]
    if not rows:
        raise InvalidInput(
            f"no finished stage of this run knows particle {particle_id}",
            expected="a particle_id from one of its tables",
        )
    first = next((row for row in rows if "x_A" in row), rows[0])
    x_A, y_A = (float(first.get(name, "nan")) for name in ("x_A", "y_A"))
    return Passport(particle_id, str(first["micrograph_id"]), x_A, y_A, tuple(stamp for stamp, _ in stamps))


def _stamps(store: Store, task: Task, particle_id: int) -> Iterator[tuple[Stamp, str]]:
    if not store.has(task.stage_id, task.key):
        return
    job = store.job(task.stage_id, task.key)
    plugin = job.get("plugin", {})
    hook, use = str(job.get("hook", "")), str(job.get("use", ""))
    maker = f"{plugin.get('distribution', '')} {plugin.get('version', '')}".strip()
    when = str(job.get("finished_utc", ""))
    row = _row(store, task, particle_id)
    if row is not None:
        fate = "picked" if hook == "pick_particles" else "kept"
        yield Stamp(task.stage_id, task.item_id, hook, use, maker, fate, row=row), when
    for drop in _drops(store.path(task.stage_id, task.key) / DROPPED, particle_id):
        yield Stamp(task.stage_id, task.item_id, hook, use, maker, "dropped", row=row or {}, **drop), when


def _row(store: Store, task: Task, particle_id: int) -> dict[str, Any] | None:
    import numpy as np

    product = store.load(task.stage_id, task.key)
    table = product if isinstance(product, ParticleTable) else getattr(product, "particles", None)
    if not isinstance(table, ParticleTable):
        return None
    found = np.flatnonzero(table.column("particle_id") == np.uint64(particle_id))
    if not len(found):
        return None
    return dict(table.arrow.slice(int(found[0]), 1).to_pylist()[0])


def _drops(path: Path, particle_id: int) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for entry in json.loads(path.read_text(encoding="utf-8")):
        ids = entry["particle_id"]
        if particle_id in ids:
            values = entry.get("value") or []
            place = ids.index(particle_id)
            value = float(values[place]) if place < len(values) else None
            yield {"reason": str(entry["reason"]), "value": value, "threshold": entry.get("threshold")}
