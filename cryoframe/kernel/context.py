"""What a stage call is given besides its inputs: device, threads, randomness, a folder, and a voice. No science."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoframe.errors import Cancelled

if TYPE_CHECKING:
    import numpy as np


def _silent(*_: object) -> None:
    """Drop what is reported."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class StageContext:
    """Handed to every stage call as ``ctx``.

    Parameters
    ----------
    workdir
        A private, empty folder; the only place the stage may write to.
    stage_id, item_id, seed
        Key of the randomness: order, worker count and restarts do not change it.
    n_threads
        Threads the stage may use; the result may not depend on it.
    device
        ``cpu`` or ``cuda:n``, already resolved.
    on_report, on_metric, on_log, on_drop, is_cancelled
        Where the stage's voice goes; set by the runner.
    checkpoint_dir
        A private folder that outlives the call, for a later attempt at the same task; or None. Believe nothing in it
        whose key is not that of all the result depends on: the result may not depend on whether it was there. A module
        with ``CARRIES_ON = True`` is given, while a set grows, what it left of the smaller set, and may go on from
        there; the last run over the whole set is never given it.
    """

    workdir: Path
    stage_id: str = "stage"
    item_id: str = "item"
    seed: int = 0
    n_threads: int = 1
    device: str = "cpu"
    on_report: Callable[[int, int, str], None] = field(default=_silent, repr=False)
    on_metric: Callable[[str, float, str], None] = field(default=_silent, repr=False)
    on_log: Callable[[str], None] = field(default=_silent, repr=False)
    on_drop: Callable[[Sequence[int], str, Sequence[float], float | None], None] = field(default=_silent, repr=False)
    is_cancelled: Callable[[], bool] = field(default=_never, repr=False)
    checkpoint_dir: Path | None = None

    @property
    def rng(self) -> np.random.Generator:
        """A counter-based generator (Philox) keyed by (seed, stage, item); each access starts the same stream anew."""
        import numpy as np

        text = f"{self.seed}|{self.stage_id}|{self.item_id}".encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=key))

    @property
    def xp(self) -> Any:
        """The array module of the device: numpy or cupy."""
        import importlib

        return importlib.import_module("cupy" if self.device.startswith("cuda") else "numpy")

    def report(self, done: int, total: int, message: str = "") -> None:
        """Say how far the work is; raises :class:`Cancelled` when the call was asked to stop."""
        self.on_report(done, total, message)
        if self.is_cancelled():
            raise Cancelled(f"{self.stage_id} of {self.item_id} was cancelled at {done} of {total}")

    def metric(self, name: str, value: float, unit: str = "") -> None:
        """Record a number for reports and comparisons."""
        self.on_metric(name, float(value), unit)

    def log(self, message: str) -> None:
        """Leave a line in the attempt's log."""
        self.on_log(message)

    def drop(
        self,
        particle_ids: Sequence[int],
        reason: str,
        *,
        values: Sequence[float] = (),
        threshold: float | None = None,
    ) -> None:
        """Say why particles are not in the result: the passport shows reason, each one's value, and the threshold."""
        self.on_drop(particle_ids, reason, values, threshold)

    def cancelled(self) -> bool:
        """Whether the call has been asked to stop."""
        return self.is_cancelled()
