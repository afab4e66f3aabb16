"""Class averages of a session as small pictures inside of its page. Reads products; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryoframe.errors import CryoframeError
from cryoframe.records.state import Task
from cryoframe.records.store import Store

if TYPE_CHECKING:
    from cryoframe.data.images import Classes2D

N_CLASSES, CLASS_PX = 24, 96


@dataclass(frozen=True)
class ClassPicture:
    """Averages of a stage over the set: address of each picture, and how many particles it has."""

    stage_id: str
    averages: Sequence[tuple[str, int]]


class Pictures:
    """The class averages of a run, drawn once for each result.

    Parameters
    ----------
    folder
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder)
        self._drawn: dict[tuple[str, str], ClassPicture | None] = {}

    def of(self, tasks: Sequence[Task]) -> list[ClassPicture]:
        """Return the latest averages of each stage that makes some, of the tasks over the set."""
        done = [(task.stage_id, task.key) for task in tasks if task.status == "done"]
        self._drawn = {one: self._drawn[one] if one in self._drawn else self._made(*one) for one in done}
        return [drawn for drawn in self._drawn.values() if drawn is not None]

    def _made(self, stage_id: str, key: str) -> ClassPicture | None:
        from cryoframe.data.images import Classes2D

        try:
            if self._store.job(stage_id, key).get("kind") != Classes2D.__name__:
                return None
            product = self._store.load(stage_id, key)
        except (CryoframeError, OSError, ValueError):  # away or damaged: the page does without
            return None
        return ClassPicture(stage_id, _averages(product)) if isinstance(product, Classes2D) else None


def _averages(product: Classes2D) -> list[tuple[str, int]]:
    """Return the most populated averages, small."""
    import numpy as np

    from cryoframe.view.pictures import data_uri, shrink, stretch

    sizes = product.classes.floats("n_particles")
    order = [row for row in np.argsort(-sizes, kind="stable").tolist() if sizes[row] > 0][:N_CLASSES]
    return [(data_uri(stretch(shrink(product.averages[row], CLASS_PX))), int(sizes[row])) for row in order]
